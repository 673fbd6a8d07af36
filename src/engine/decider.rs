//! The walk of a decision: one world, the person in time, then two pure functions.

use std::{sync::Arc, time::Instant};

use jiff::tz::TimeZone;

use crate::{
    domain::{
        audience::context::LocalTime,
        consent::Purposes,
        decision::{
            answer::write_item,
            assemble::{Assembled, Issuer, assemble},
            decide::{check_explained, decide},
            decided::{Decision, Item, Person, Showing},
            record::{Inputs, Origin},
            request::{AdRequest, Explain, Seed, Stage},
            standing::{Degraded, FallbackLevel},
        },
        ids::{NameHash, Uid, UserKey},
        values::{Json, Millis},
        violation::Violation,
    },
    engine::{
        catalogue::Catalogue,
        consistency::Consistency,
        deadline::Deadline,
        decision_log::DecisionLog,
        learning::Learning,
        records::Records,
        reservations::{Reservation, Reservations},
        seeds,
        users::{Freshness, Moment, UserRead, Users},
        world::{Account, World},
    },
    ports::{Clock, DecisionRecord},
    telemetry::Meters,
};

/// A request on its way to a decision.
pub struct Call {
    /// Everything as it was when the request came.
    pub world: Arc<World>,
    /// The account in it.
    pub account: Arc<Account>,
    /// The account's own name of the person.
    pub key: Option<UserKey>,
    /// What is asked for. Whoever the key names is filled in here, as far as the purposes allow.
    pub request: Box<AdRequest>,
    /// What the request may be used for.
    pub purposes: Purposes,
    /// The person's time zone, where it is known.
    pub zone: Option<TimeZone>,
    /// Until when the answer is worth anything.
    pub deadline: Deadline,
    /// How current the profile must be.
    pub freshness: Freshness,
    /// What the decision must reflect.
    pub consistency: Option<Consistency>,
}

/// A decision with everything that is sent.
pub struct Decided {
    /// The account, with the catalogue it was decided on.
    pub account: Arc<Account>,
    /// The request as it was decided: with who is looking, and without what its purposes do not allow.
    pub request: Box<AdRequest>,
    /// The decision.
    pub decision: Decision,
    /// Per placement and item what was assembled.
    pub assembled: Vec<Vec<Option<Assembled>>>,
    /// How the person was read.
    pub user: UserRead,
    /// When the person was last proven current; none where no profile was read.
    pub as_of: Option<Millis>,
    /// How long each step took.
    pub timing: Timing,
}

/// How long each step of a decision took, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Timing {
    /// From the arrival of the request.
    pub total: u64,
    /// Getting the person.
    pub user: u64,
    /// Deciding.
    pub decide: u64,
    /// Signing and rendering.
    pub assemble: u64,
}

/// Where decisions leave what others need of them; none of it is waited for.
pub struct Traces {
    /// Records of a share of them.
    pub records: Records,
    /// Who takes part in experiments, and what has no number yet.
    pub learning: Learning,
    /// What was chosen by what was learned.
    pub log: DecisionLog,
}

/// Decides requests.
pub struct Decider {
    catalogue: Arc<Catalogue>,
    users: Users,
    reservations: Arc<Reservations>,
    traces: Traces,
    clock: Arc<dyn Clock>,
    meters: Meters,
    /// Share of requests whose full record is kept, in 2^-32.
    record_share: u64,
}

impl Decider {
    /// A decider that keeps the records of a share (0 to 1) of all requests.
    #[must_use]
    pub fn new(
        catalogue: Arc<Catalogue>,
        users: Users,
        reservations: Arc<Reservations>,
        traces: Traces,
        clock: Arc<dyn Clock>,
        meters: Meters,
        record_share: f64,
    ) -> Self {
        let record_share = (record_share.clamp(0.0, 1.0) * 4_294_967_296.0) as u64;
        Self { catalogue, users, reservations, traces, clock, meters, record_share }
    }

    /// Decides a request that arrived at `arrived`.
    ///
    /// # Errors
    /// Everything that the request names and that does not exist.
    pub async fn decide(&self, call: Call, arrived: Instant) -> Result<Decided, Vec<Violation>> {
        let uid = call.key.as_ref().map(|key| call.account.uid(key));
        self.decide_for(uid, call, arrived).await
    }

    /// Which of these names, the best first, is that of somebody who is known; the first, where none is.
    pub async fn first_known(
        &self,
        account: &Account,
        keys: &[UserKey],
        purposes: Purposes,
        deadline: Deadline,
    ) -> Option<Uid> {
        let (first, mut counted) = (account.uid(keys.first()?), None);
        let looks = purposes.profile_read || purposes.basic && account.snapshot.has_caps();
        if looks && keys.len() > 1 {
            let freshness = Freshness { max_staleness_ms: None, strict: false };
            for uid in keys.iter().map(|key| account.uid(key)) {
                match self.users.get(account.number(), uid, purposes, deadline, freshness).await.state {
                    // of whom no more is known than what was shown: another name may tell who it was
                    Some(state) if state.is_counted_only() => counted = counted.or(Some(uid)),
                    Some(_) => return Some(uid),
                    None => {}
                }
            }
        }
        counted.or(Some(first))
    }

    /// Decides for a person who is known already, whatever the call's key says.
    ///
    /// # Errors
    /// Everything that the request names and that does not exist.
    pub async fn decide_for(&self, uid: Option<Uid>, call: Call, arrived: Instant) -> Result<Decided, Vec<Violation>> {
        let Call { world, account, mut request, purposes, zone, deadline, freshness, consistency, .. } = call;
        let freshness = Freshness { strict: freshness.strict || self.users.is_strict(account.id()), ..freshness };
        check_explained(&account.snapshot, &request)?;
        let started = Instant::now();
        let counts = purposes.basic && account.snapshot.has_caps();
        let user = match uid {
            Some(uid) if purposes.profile_read || counts => {
                self.read(account.number(), uid, purposes, deadline, freshness, consistency).await
            }
            _ => UserRead::contextual(uid.map(|_| Degraded::NoConsent)),
        };
        request.person = user.merged_into.or(uid).filter(|_| purposes.basic || purposes.profile_read);
        strip(&mut request, purposes);
        let read = Instant::now();
        let preview = request.preview.as_ref();
        let asked = self.clock.now();
        let now = preview.and_then(|preview| preview.at).unwrap_or(asked);
        let as_of = user.as_of(asked);
        request.context.local = LocalTime::of_person(now, zone.as_ref());
        let preview = request.preview.as_ref();
        let begun = request.placements.iter().find_map(|placement| match placement.stage {
            Stage::Rest(decision) => Some(Seed::of_rest(decision)),
            _ => None,
        });
        let seed = preview.and_then(|preview| preview.seed).or(begun).unwrap_or_else(seeds::draw);
        let withheld = uid.filter(|_| !purposes.profile_read).map(|_| Degraded::NoConsent);
        let lost = user.degraded.filter(|why| Some(*why) != withheld);
        let degraded: Vec<Degraded> = withheld.into_iter().chain(lost).collect();
        let work = |request: &AdRequest, reserved: &[(NameHash, Millis)]| {
            decide(
                &account.snapshot,
                &account.learned,
                request,
                &person(&user, &degraded, reserved),
                purposes,
                now,
                seed,
            )
        };
        let (decision, reserved) = match request.person.filter(|_| counts && preview.is_none()) {
            Some(counted) => {
                // others wait meanwhile, so it is explained afterwards, from the same
                let brief = (request.explain > Explain::None)
                    .then(|| AdRequest { explain: Explain::None, ..AdRequest::clone(&request) });
                let current = |moment: Moment| user.was_current_at(moment);
                // what the key was being served when it came to lead to the person
                let key = user.merged_into.and(uid);
                let led = key
                    .map_or_else(Vec::new, |key| self.reservations.with(key, current, |held| (held.to_vec(), vec![])));
                let reserve = |reserved: &[(NameHash, Millis)]| {
                    let reserved = [reserved, &led].concat();
                    let decided = work(brief.as_ref().unwrap_or(&request), &reserved);
                    let added =
                        decided.as_ref().map_or_else(|_| Vec::new(), |decision| Reservation::all_of(decision, now));
                    ((decided, reserved), added)
                };
                let (decided, reserved) = self.reservations.with(counted, current, reserve);
                let decided = decided?;
                (if brief.is_some() { work(&request, &reserved)? } else { decided }, reserved)
            }
            None => (work(&request, &[])?, Vec::new()),
        };
        let inputs = self.is_recorded(&request, &decision).then(|| {
            let origin = Origin {
                snapshot: &account.snapshot,
                request: &request,
                person: &person(&user, &degraded, &reserved),
                purposes,
                seed,
                public_url: self.catalogue.public_url(),
                signing_key: world.signing_key,
            };
            Inputs::take(&origin, &decision)
        });
        let chosen = Instant::now();
        let issuer = Issuer { account: account.number(), keys: &world.tokens, public_url: self.catalogue.public_url() };
        let assembled = assemble_all(&decision, &request, purposes, issuer);
        let done = Instant::now();
        if request.preview.is_none() {
            let measured = request.person.filter(|_| purposes.measure);
            self.traces.learning.shown(account.number(), &request, measured, &decision);
            self.traces.log.note(account.number(), measured, &request, &decision);
        }
        if let Some(inputs) = inputs {
            self.record(&account, &decision, &assembled, &inputs);
        }
        self.count(&decision);
        let ns = |from: Instant, to: Instant| u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX);
        let steps = &self.meters.decision_steps;
        steps.user.increment(ns(started, read));
        steps.decide.increment(ns(read, chosen));
        steps.assemble.increment(ns(chosen, done));
        self.meters.decision_duration.record((done - arrived).as_secs_f64());
        let timing = Timing {
            total: ns(arrived, done) / 1_000,
            user: ns(started, read) / 1_000,
            decide: ns(read, chosen) / 1_000,
            assemble: ns(chosen, done) / 1_000,
        };
        Ok(Decided { account, request, decision, assembled, user, as_of, timing })
    }

    /// What is being served to people.
    #[must_use]
    pub fn reservations(&self) -> &Reservations {
        &self.reservations
    }

    /// Reads the person, and again where the first read does not reflect what it has to.
    async fn read(
        &self,
        account: u32,
        uid: Uid,
        purposes: Purposes,
        deadline: Deadline,
        freshness: Freshness,
        consistency: Option<Consistency>,
    ) -> UserRead {
        let Some(wanted) = consistency.filter(|_| purposes.profile_read) else {
            return self.users.get(account, uid, purposes, deadline, freshness).await;
        };
        // whatever the token names was committed before this
        let asked = self.users.moment();
        let told = matches!(wanted, Consistency::Transaction(xid) if self.users.was_told(xid));
        let has = |read: &UserRead| match wanted {
            Consistency::Version(version) => read.state.as_ref().is_some_and(|state| state.version >= version),
            Consistency::Transaction(_) => told && read.reflects_told() || read.reflects(asked),
        };
        let read = self.users.get(account, uid, purposes, deadline, freshness).await;
        if has(&read) {
            return read;
        }
        self.users.forget(account, uid);
        let mut again = self.users.get(account, uid, purposes, deadline, freshness).await;
        if !has(&again) {
            again.degraded = Some(Degraded::TokenNotReached);
        }
        again
    }

    /// A deterministic sample of requests, and every one that asks for an explanation.
    fn is_recorded(&self, request: &AdRequest, decision: &Decision) -> bool {
        // the low bits of a UUIDv7 are random
        let sampled = u64::from(decision.id.0.as_u128() as u32) < self.record_share;
        // what was left open is recorded with the rest
        request.explain > Explain::None || sampled && shown(decision).all(|showing| showing.deferred.is_none())
    }

    fn record(&self, account: &Account, decision: &Decision, assembled: &[Vec<Option<Assembled>>], inputs: &Inputs) {
        let person = inputs.request.person;
        let inputs = match serde_json::to_string(inputs) {
            Ok(inputs) => inputs,
            Err(error) => return tracing::error!(%error, "a decision cannot be recorded"),
        };
        let mut first = None;
        for (items, assembled) in decision.placements.iter().zip(assembled) {
            for (item, assembled) in items.iter().zip(assembled) {
                // in the shape of `Recorded`; what went into all is written once
                let mut body = Json::default();
                match first {
                    None => body.raw("{\"inputs\":").raw(&inputs),
                    Some(first) => body.raw("{\"inputs_of\":\"").plain(first).raw("\""),
                };
                first = first.or(Some(item.id));
                body.raw(",\"item\":");
                write_item(&mut body, item, assembled.as_ref(), &account.snapshot.rules);
                body.raw("}");
                self.traces.records.keep(DecisionRecord {
                    account: account.number(),
                    decision: item.id,
                    at: decision.at,
                    person,
                    catalog_version: decision.catalog_version,
                    body: body.into_text(),
                });
            }
        }
    }

    fn count(&self, decision: &Decision) {
        let left = |item: &&Item| item.shown.as_ref().is_none_or(|showing| showing.deferred.is_none());
        for item in decision.placements.iter().flatten().filter(left) {
            let meters = &self.meters.decisions;
            match item.fallback {
                FallbackLevel::Personalised => meters.personalised.increment(1),
                FallbackLevel::Stale => meters.stale.increment(1),
                FallbackLevel::Contextual => meters.contextual.increment(1),
                FallbackLevel::Default => meters.default.increment(1),
                FallbackLevel::None => meters.none.increment(1),
            }
        }
    }
}

/// Signs and renders every filled item.
#[must_use]
pub fn assemble_all(
    decision: &Decision,
    request: &AdRequest,
    purposes: Purposes,
    issuer: Issuer<'_>,
) -> Vec<Vec<Option<Assembled>>> {
    let placements = decision.placements.iter().zip(&request.placements);
    placements
        .map(|(items, placement)| {
            let assembled = items.iter().map(|item| {
                item.shown.as_ref().map(|showing| assemble(item, showing, request, placement, purposes, issuer))
            });
            assembled.collect()
        })
        .collect()
}

fn person<'a>(user: &'a UserRead, degraded: &'a [Degraded], reserved: &'a [(NameHash, Millis)]) -> Person<'a> {
    let (standing, counted) = (user.standing, user.counted);
    Person { state: user.state.as_deref(), standing, counted, degraded, reserved, recorded: &[], replay: None }
}

/// Takes out of a request what its purposes do not allow to be looked at.
fn strip(request: &mut AdRequest, purposes: Purposes) {
    if !purposes.profile_read {
        request.traits = Default::default();
        request.segments.clear();
        request.context.position = None;
        request.context.city = None;
    }
}

fn shown(decision: &Decision) -> impl Iterator<Item = &Showing> {
    decision.placements.iter().flatten().filter_map(|item| item.shown.as_ref())
}
