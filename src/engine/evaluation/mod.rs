//! What another rotation would have earned on the decisions that were logged.

mod wide;

use std::sync::Arc;

use serde::Serialize;

use self::wide::Wide;
use super::results::{self, Results, ResultsError};
use crate::{
    domain::{
        catalog::{
            creative::Creative,
            document::{GoalDoc, Rotation},
        },
        decision::{learned::Learner, spaces::Paired},
        ids::{CampaignId, ComponentId, SlotName},
        measurement::{
            beacon::decided_at,
            evaluate::{Basis, Evaluation, Evaluator, Logged, MOST_COMBINATIONS, Refusal, Weight},
        },
        optimizer::{DEFAULT, Snapshot as Draws, Space},
        values::Millis,
        violation::Violation,
    },
    engine::world::Account,
    ports::{LogQuery, LogRead, LoggedDecision, Measured, Rewarded},
};

/// Another rotation.
#[derive(Debug, Clone)]
pub enum Target {
    /// Every legal combination as often.
    Even,
    /// By the weights of the components.
    Weights,
    /// Always the one that is believed best for the person now.
    Best,
    /// As now, without some components.
    Without(Vec<(SlotName, ComponentId)>),
}

/// What another rotation would have earned, and what it rests on.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Evaluated {
    /// The campaign.
    pub campaign: CampaignId,
    /// What is earned.
    pub reward: Reward,
    /// Logged decisions of the days that are old enough for what comes of them to be known: twice as old as
    /// 99 in 100 rewards took, or as the attribution window while fewer than 30 rewards came.
    pub logged: u64,
    /// Those that are too young for that, and left out.
    pub too_young: u64,
    /// Whether only an even sample of those that are old enough was read, because there are more than 50,000.
    pub sampled: bool,
    /// From the first to the last of the decisions that were read; none where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Read>,
    /// Decisions that were read and could be used.
    pub used: u64,
    /// Decisions that were read and could not: of other revisions, or with too many combinations.
    pub left_out: u64,
    /// The estimate; none where the log says too little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// Why there is no estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What to keep in mind.
    pub notes: Vec<&'static str>,
}

/// When decisions that were read were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = EvaluatedSpan)]
pub struct Read {
    /// The first.
    pub first: Millis,
    /// The last.
    pub last: Millis,
}

impl Read {
    fn of(rows: &[Rewarded]) -> Option<Self> {
        let times = || rows.iter().map(|row| decided_at(row.logged.decision));
        Some(Self { first: times().min()?, last: times().max()? })
    }
}

/// What is earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reward {
    /// Clicks per decision.
    Clicks,
    /// Conversions per decision.
    Conversions,
    /// What conversions were worth per decision, in the campaign's currency.
    Value,
}

/// Logged decisions that are read.
const MOST: u32 = 50_000;

/// Why nothing is estimated while rewards are still to come.
const TOO_YOUNG: &str = "what comes of the logged decisions is not known yet: they are younger than rewards may take";

/// What differs from the rotation that would serve.
const TURNS: &str = "Where pairing rules bind slots, every legal combination counts alike, or by its weights: served, \
    these slots take turns, so some combinations are shown more often and others less.";

/// Why nothing is estimated for a campaign that chooses in another way by now.
const NOT_OPTIMIZED: &str = "the campaign's rotation is not `optimized` now, so what was learned, by which logged \
    decisions are weighed, is not kept ready: set it to `optimized` to have them evaluated";

impl Results {
    /// Evaluates another rotation on the decisions logged from one day (UTC, since 1970-01-01) to
    /// another, on those of which is known what came of them.
    ///
    /// # Errors
    /// See [`ResultsError`].
    pub async fn evaluate(
        &self,
        account: &Account,
        id: &CampaignId,
        target: Target,
        days: (Option<i64>, Option<i64>),
    ) -> Result<Evaluated, EvaluateError> {
        let at = account.snapshot.line(id).ok_or_else(|| ResultsError::NoCampaign(id.clone()))?;
        let line = &account.snapshot.lines[at];
        if let Target::Without(components) = &target {
            let faults = unknown(components, &line.creatives);
            if !faults.is_empty() {
                return Err(EvaluateError::Invalid(faults));
            }
        }
        let (reward, measured) = match line.campaign.goal {
            GoalDoc::Click => (Reward::Clicks, Measured::Clicks),
            GoalDoc::Conversion(_) => (Reward::Conversions, Measured::Conversions),
            GoalDoc::Value(_) => (Reward::Value, Measured::Value),
        };
        // decisions of which rewards are still to come would look like failures
        let (now, longest) = (self.clock.now(), line.campaign.longest_ms());
        let known = self.learning.of_campaign(account.number(), id);
        let known = known.into_iter().filter(|(_, known)| known.goal.as_ref() == Some(&line.campaign.goal));
        let before = known.map(|(of, known)| (of.creative, now.plus(-known.lore.detector.maturity_ms(longest))));
        let sought = LogQuery {
            account: account.number(),
            campaign: id.clone(),
            days: results::days(days.0, days.1),
            before: before.collect(),
            otherwise: now.plus(-longest),
            measured,
            most: MOST,
        };
        let LogRead { rows: logged, count, later } = self.store.logged(sought).await.map_err(ResultsError::from)?;
        let nothing = Evaluated {
            campaign: id.clone(),
            reward,
            logged: count,
            too_young: later,
            sampled: count > logged.len() as u64,
            span: Read::of(&logged),
            used: 0,
            left_out: logged.len() as u64,
            evaluation: None,
            refused: None,
            notes: Vec::new(),
        };
        if line.campaign.rotation != Rotation::Optimized {
            return Ok(Evaluated { refused: Some(NOT_OPTIMIZED.to_owned()), ..nothing });
        }
        if logged.is_empty() && later > 0 {
            return Ok(Evaluated { refused: Some(TOO_YOUNG.to_owned()), ..nothing });
        }
        let creatives = line.creatives.clone();
        let takes_turns = matches!(target, Target::Even | Target::Weights)
            && creatives.iter().any(|creative| !creative.pairing.is_empty());
        // of some, nothing may be learned yet
        let learned = self.learning.whole(account.number(), id).await;
        let learned: Vec<_> = creatives.iter().map(|creative| learned.get(&creative.id).cloned()).collect();
        let work = move || {
            let mut few = Tried::new(Basis::Combinations);
            let mut many = Tried::new(Basis::AssumingTheAdditiveModel);
            let mut wide = Wide::default();
            for Rewarded { logged, reward } in &logged {
                let of = creatives.iter().position(|creative| creative.id == logged.creative);
                let known = of.and_then(|at| Some((creatives.get(at)?, learned.get(at)?.as_deref()?)));
                let Some(row) = known.and_then(|(creative, learner)| Row::of(creative, learner, logged)) else {
                    few.left_out += 1;
                    many.left_out += 1;
                    continue;
                };
                let (person, reward) = (logged.person, *reward);
                if row.space.count() <= MOST_COMBINATIONS as f64 {
                    let weight = likelihood(&target, &row, logged)
                        .map(|target| Weight::Joint { propensity: logged.propensity, target });
                    few.take(weight.map(|weight| Logged { person, weight, reward }));
                    many.left_out += 1;
                } else {
                    let found = wide.weights(&target, &row, logged);
                    let weight = found.as_ref().map(|(weights, choice)| Weight::Slots { weights, choice });
                    many.take(weight.map(|weight| Logged { person, weight, reward }));
                    few.left_out += 1;
                }
            }
            // what most decisions were among
            let Tried { evaluator, used, left_out } = if many.used > few.used { many } else { few };
            (evaluator.finish(), used, left_out)
        };
        let (finished, used, left_out) =
            tokio::task::spawn_blocking(work).await.map_err(|error| EvaluateError::Failed(error.to_string()))?;
        let mut notes = vec!["Intervals hold for one look."];
        if left_out > used {
            notes.push(
                "Most decisions cannot be used: of a creative or components that are gone, or not logged in full.",
            );
        }
        if finished.as_ref().is_ok_and(|evaluation| evaluation.basis == Basis::AssumingTheAdditiveModel) {
            notes.push("More than 200 legal combinations: assumes that what a component adds does not depend on the other slots.");
        }
        if finished.is_ok() {
            notes.push("What was learned from the same decisions flatters the rotation that uses it.");
        }
        if finished.is_ok() && takes_turns {
            notes.push(TURNS);
        }
        let (evaluation, refused) = match finished {
            Ok(evaluation) => (Some(evaluation), None),
            Err(refusal @ (Refusal::EffectiveSampleSize { .. } | Refusal::LargestWeight { .. })) => {
                (None, Some(refusal.to_string()))
            }
        };
        Ok(Evaluated { used, left_out, evaluation, refused, notes, ..nothing })
    }
}

/// Why another rotation was not evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The rotation names what is not there.
    #[error("the rotation is invalid")]
    Invalid(Vec<Violation>),
    /// See there.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// A fault of this program.
    #[error("{0}")]
    Failed(String),
}

fn unknown(components: &[(SlotName, ComponentId)], creatives: &[Arc<Creative>]) -> Vec<Violation> {
    let there = |slot: &SlotName, id: &ComponentId| {
        creatives.iter().any(|creative| {
            creative.components.iter().any(|one| one.id == *id && creative.slots[one.slot].name == *slot)
        })
    };
    let missing = components.iter().enumerate().filter(|(_, (slot, id))| !there(slot, id));
    missing
        .map(|(at, (slot, id))| {
            Violation::new(
                format!("/without/{at}"),
                "unknown_component",
                format!("no creative of the campaign has {id} in {slot}"),
            )
        })
        .collect()
}

/// Rows taken into an evaluation, and those that could not be.
struct Tried {
    evaluator: Evaluator,
    used: u64,
    left_out: u64,
}

impl Tried {
    fn new(basis: Basis) -> Self {
        Self { evaluator: Evaluator::new(basis), used: 0, left_out: 0 }
    }

    fn take(&mut self, row: Option<Logged<'_>>) {
        match row.map(|row| self.evaluator.push(&row)) {
            Some(Ok(())) => self.used += 1,
            Some(Err(_)) | None => self.left_out += 1,
        }
    }
}

/// A logged decision among what could be shown then.
struct Row<'a> {
    creative: &'a Arc<Creative>,
    learner: &'a Learner,
    draws: &'a Draws,
    space: Arc<Space<Paired>>,
    /// Per slot of the creative the candidates that could stand in it.
    eligible: Vec<Vec<u16>>,
    choice: Vec<u16>,
}

impl<'a> Row<'a> {
    fn of(creative: &'a Arc<Creative>, learner: &'a Learner, logged: &LoggedDecision) -> Option<Self> {
        let draws = learner.draws.as_ref()?;
        let eligible = learner.positions(creative, &logged.eligible);
        let mut choice = logged.choice.clone();
        choice.resize(draws.layout().slots(), DEFAULT);
        let space = learner.space(creative, &eligible)?;
        Some(Self { creative, learner, draws, space, eligible, choice })
    }

    /// What is left without some components; a slot that has lost all shows its default.
    fn without(&self, gone: &[(SlotName, ComponentId)]) -> Option<Arc<Space<Paired>>> {
        let mut eligible = self.eligible.clone();
        for (slot, id) in gone {
            let Some(at) = self.creative.slots.iter().position(|known| known.name == *slot) else { continue };
            let is = |position: &u16| {
                self.creative.components[self.creative.slots[at].candidates[usize::from(*position)] as usize].id == *id
            };
            eligible[at].retain(|position| !is(position));
        }
        self.learner.space(self.creative, &eligible)
    }
}

/// How likely the other rotation shows what was shown; none where that cannot be said.
fn likelihood(target: &Target, row: &Row<'_>, logged: &LoggedDecision) -> Option<f64> {
    let Row { creative, learner, draws, space, choice, .. } = row;
    match target {
        Target::Even => Some(space.share(choice)),
        Target::Without(gone) => match row.without(gone) {
            Some(space) => Some(draws.propensity(&space, &logged.features, choice)),
            None => Some(0.0),
        },
        Target::Weights | Target::Best => {
            let all = space.list_all(MOST_COMBINATIONS as usize)?;
            if !all.contains(choice) {
                return Some(0.0);
            }
            if matches!(target, Target::Best) {
                let mean = |of: &Vec<u16>| {
                    draws.score(&logged.features, of, None).map_or(f64::NEG_INFINITY, |score| score.mean)
                };
                let best = all.iter().max_by(|a, b| mean(a).total_cmp(&mean(b)))?;
                return Some(if best == choice { 1.0 } else { 0.0 });
            }
            let weight = |of: &Vec<u16>| -> f64 {
                let positions = learner.candidates(creative, of);
                let weights = (0..creative.slots.len()).filter_map(|slot| creative.chosen(slot, &positions));
                weights.map(|component| f64::from(component.weight)).product()
            };
            let total: f64 = all.iter().map(weight).sum();
            (total > 0.0).then(|| weight(choice) / total)
        }
    }
}
