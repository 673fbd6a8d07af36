//! Whose a conversion is: of the decision whose token it names, or of what a person clicked or saw.

use super::{ConversionAnswer, ConversionRequest, check, check_currency};
use crate::{
    domain::{
        measurement::{
            attribution::Credit,
            beacon::{CONVERSION_LIFE_MS, Claim, SKEW_MS},
            outcome::{Outcome, OutcomeKind},
        },
        values::Millis,
        violation::{Violation, Violations},
    },
    engine::{Sought, Touched},
    http::{
        app::App,
        auth::Caller,
        beacons::{Detail, OutcomeAnswer, outcome},
        problem::Problem,
    },
};

/// What is known of a conversion before the store is asked.
pub(super) struct Named {
    of: Of,
    detail: Detail,
    at: Millis,
}

/// Whose conversion it is.
enum Of {
    /// What was shown.
    Shown(Box<Claim>),
    /// Somebody who was shown something, or was not.
    Person(u32, Box<Sought>),
    /// Of nothing that counts.
    Nothing(OutcomeAnswer),
}

impl ConversionRequest {
    /// Whose it is, or everything that is wrong.
    pub(super) fn read(self, app: &App, caller: Option<&Caller>) -> Result<Named, Vec<Violation>> {
        let (mut faults, now) = (Violations::new(), app.engine.clock.now());
        check(self.conversion_id.as_deref(), self.value, &mut faults);
        let ahead = self.at.map_or(0, |at| at.since(now));
        if !(-CONVERSION_LIFE_MS..=SKEW_MS).contains(&ahead) {
            faults.push("/at", "range", "must be within the last 120 days");
        }
        let at = self.at.map_or(now, |at| at.min(now));
        let world = app.engine.catalogue.world();
        let of = match (self.token, self.user, self.campaign) {
            (Some(token), None, None) => match world.tokens.verify(OutcomeKind::Conversion, &token, at) {
                Ok(known) if caller.is_none_or(|caller| caller.account.number() == known.claim.account) => {
                    Some(if known.claim.preview {
                        Of::Nothing(OutcomeAnswer::Unknown)
                    } else if known.expired {
                        Of::Nothing(OutcomeAnswer::Expired)
                    } else {
                        Of::Shown(Box::new(known.claim))
                    })
                }
                _ => {
                    faults.push("/token", "invalid_token", "must be a conversion_token of this service");
                    None
                }
            },
            (None, Some(user), Some(campaign)) => caller.and_then(|caller| {
                if caller.account.snapshot.line(&campaign).is_none() {
                    faults.push("/campaign", "unknown_campaign", "there is no such campaign");
                    return None;
                }
                let terms = world.terms(caller.account.number(), Some(&campaign));
                let person = caller.account.uid(&user);
                Some(Of::Person(caller.account.number(), Box::new(Sought { person, campaign, at, terms })))
            }),
            (None, user, campaign) => {
                if user.is_none() && campaign.is_none() {
                    faults.push("/token", "required", "must name a decision, or else a user and a campaign");
                } else {
                    let missing = if user.is_none() { "/user" } else { "/campaign" };
                    faults.push(missing, "required", "a user and a campaign go together");
                }
                None
            }
            (Some(_), ..) => {
                faults.push("/token", "ambiguous", "must be left out where a user or a campaign is named");
                None
            }
        };
        let named = match &of {
            Some(Of::Shown(claim)) => Some((claim.account, claim.campaign.as_ref())),
            Some(Of::Person(account, sought)) => Some((*account, Some(&sought.campaign))),
            _ => None,
        };
        let usual = named.and_then(|(account, campaign)| world.usual(account, campaign));
        check_currency(self.value, usual, &mut faults);
        faults.into_result()?;
        let detail = Detail { goal: self.goal, conversion_id: self.conversion_id, value: self.value, told: None };
        of.map(|of| Named { of, detail, at }).ok_or_else(Vec::new)
    }
}

/// Reports conversions, or says what would become of them.
pub(super) async fn take(app: &App, named: Vec<Named>, dry_run: bool) -> Result<Vec<ConversionAnswer>, Problem> {
    let mut answers: Vec<Option<ConversionAnswer>> = named.iter().map(|_| None).collect();
    let (mut people, mut asked) = (Vec::new(), Vec::new());
    let mut account = 0;
    for (at, one) in named.iter().enumerate() {
        if let Of::Person(number, sought) = &one.of {
            account = *number;
            people.push(Sought::clone(sought));
            asked.push(at);
        }
    }
    let mut touched: Vec<Option<Touched>> = named.iter().map(|_| None).collect();
    if !people.is_empty() {
        for (at, found) in asked.into_iter().zip(app.engine.outcomes.touched(account, people).await?) {
            touched[at] = found;
        }
    }
    let (mut outcomes, mut places): (Vec<Outcome>, Vec<usize>) = Default::default();
    for (place, (Named { of, detail, at }, touched)) in named.into_iter().zip(touched).enumerate() {
        let claim = match (of, touched) {
            (Of::Shown(claim), _) => *claim,
            (Of::Nothing(outcome), _) => {
                answers[place] = Some(ConversionAnswer { outcome, credit: None, lost: false });
                continue;
            }
            (Of::Person(account, sought), Some(touched)) => claim(account, *sought, touched),
            (Of::Person(..), None) => {
                let credit = Some(Credit::Untouched);
                answers[place] = Some(ConversionAnswer { outcome: OutcomeAnswer::Unknown, credit, lost: false });
                continue;
            }
        };
        outcomes.push(outcome(app, claim, OutcomeKind::Conversion, &detail, at));
        places.push(place);
    }
    let reported = if dry_run {
        app.engine.outcomes.rehearse(outcomes).await?
    } else {
        app.engine.outcomes.report_all(outcomes).await
    };
    for (place, reported) in places.into_iter().zip(reported) {
        answers[place] = Some(reported.into());
    }
    Ok(answers.into_iter().flatten().collect())
}

/// What a token of what was shown to somebody would say.
fn claim(account: u32, sought: Sought, touched: Touched) -> Claim {
    let Touched { decision, creative, revision, combination, person, exposure } = touched;
    Claim {
        account,
        decision,
        campaign: Some(sought.campaign),
        creative,
        revision,
        combination,
        person,
        measured: true,
        cap_window: None,
        preview: false,
        exposure,
        price: None,
        budgeted: false,
    }
}
