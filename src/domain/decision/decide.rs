//! `decide`: from a request, a person, a catalogue and a seed to what is shown.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::domain::{
    audience::{
        compile::SegmentIx,
        context::Context,
        evaluate::{Evaluator, UserView},
        value::Folded,
        verdict::Verdict,
    },
    catalog::{
        index::Scratch,
        snapshot::{Placement, Snapshot},
    },
    consent::Purposes,
    decision::{
        decided::{Decision, Person},
        eligibility::{Ask, Seen},
        goods::Goods,
        learned::Learned,
        request::{AdRequest, Explain, PlacementRequest, Seed, SegmentsMode, Stage},
        rotation::Sticky,
        run::{Run, Slot},
    },
    ids::{DecisionId, PlacementId, SegmentKey},
    values::Millis,
    violation::{Violation, Violations},
};

/// Decides a request.
///
/// # Errors
/// The request names a placement that is not registered.
pub fn decide(
    snapshot: &Snapshot,
    learned: &Learned,
    request: &AdRequest,
    person: &Person<'_>,
    purposes: Purposes,
    now: Millis,
    seed: Seed,
) -> Result<Decision, Vec<Violation>> {
    let registered = registered(snapshot, request)?;
    let forced = forced(snapshot, request, person, purposes);
    let view = view(request, person, purposes, &forced);
    let mut random = generator(seed);
    let id = DecisionId(uuid_v7(now, &mut random));
    let nobody = Sticky(u128::from(random.next_u64()) << 64 | u128::from(random.next_u64()));
    let contexts = contexts(request);
    let mut run = Run {
        snapshot,
        learned,
        request,
        now,
        person,
        known: request.person.is_some() && purposes.basic,
        measured: purposes.measure,
        sticky: request.person.filter(|_| purposes.basic).map_or(nobody, |uid| Sticky(uid.0)),
        goods: Goods { snapshot, profile: view.state, recorded: person.replay.and_then(|replay| replay.goods), now },
        evaluator: Evaluator::new(&snapshot.rules, view, &request.context, now),
        seen: Seen {
            // where the counters could not be read, nothing may be taken to be below its cap
            countable: request.person.is_some() && purposes.basic && person.counted,
            state: person.state.filter(|_| purposes.basic),
            reserved: person.reserved,
            shown: Vec::new(),
        },
        scratch: Scratch::default(),
        explanation: Vec::new(),
        shared: None,
    };
    let mut slots = Vec::with_capacity(request.placements.len());
    for (at, placement) in request.placements.iter().enumerate() {
        for position in 0..placement.count {
            slots.push(Slot {
                at: slots.len(),
                id: match placement.stage {
                    Stage::Rest(begun) => begun,
                    _ => DecisionId(uuid_v7(now, &mut random)),
                },
                ask: Ask::of((at, position), placement, registered[at], now),
                context: contexts.get(&at).unwrap_or(&request.context),
                registered: registered[at],
            });
        }
    }
    let mut items = run.all(&slots).into_iter();
    let counts = request.placements.iter().map(|placement| usize::from(placement.count));
    let placements = counts.map(|count| items.by_ref().take(count).collect()).collect();
    if request.all_segments {
        snapshot.rules.all().for_each(|ix| {
            run.evaluator.segment(ix);
        });
    }
    Ok(Decision {
        id,
        at: now,
        catalog_version: snapshot.version,
        placements,
        evaluated: run.evaluator.into_evaluated(),
        explanation: run.explanation,
        shared: run.shared,
    })
}

/// The segments that targeting names and that the person is in, also those that a decision need not look at.
pub(super) fn memberships(
    snapshot: &Snapshot,
    request: &AdRequest,
    person: &Person<'_>,
    purposes: Purposes,
    now: Millis,
) -> Vec<(SegmentIx, Verdict)> {
    let forced = forced(snapshot, request, person, purposes);
    let view = view(request, person, purposes, &forced);
    let mut evaluator = Evaluator::new(&snapshot.rules, view, &request.context, now);
    let named = snapshot.targeted_segments().iter().map(|ix| (*ix, evaluator.segment(*ix)));
    named.filter(|(_, verdict)| verdict.holds()).collect()
}

/// The person as rules may see them.
fn view<'a>(
    request: &'a AdRequest,
    person: &Person<'a>,
    purposes: Purposes,
    forced: &'a [(SegmentIx, Verdict)],
) -> UserView<'a> {
    let overridden = request.segments_mode == SegmentsMode::Override && purposes.profile_read;
    UserView {
        uid: request.person.filter(|_| purposes.basic),
        state: person.state.filter(|_| purposes.profile_read),
        request_traits: purposes.profile_read.then_some(&request.traits),
        forced,
        // a record holds every segment that they were in
        only_forced: overridden || person.replay.is_some(),
    }
}

/// The most campaigns that an explanation may list, over all items.
pub const MOST_EXPLAINED: usize = 200_000;

/// Whether an explanation of everything that a request asks for has a sane size.
///
/// # Errors
/// It has not.
pub fn check_explained(snapshot: &Snapshot, request: &AdRequest) -> Result<(), Vec<Violation>> {
    let items: usize = request.placements.iter().map(|placement| usize::from(placement.count)).sum();
    let listed = items.saturating_mul(snapshot.lines.len());
    if request.explain == Explain::None || listed <= MOST_EXPLAINED {
        return Ok(());
    }
    let detail = format!(
        "would list {} campaigns for each of {items} items, above {MOST_EXPLAINED} in all: ask for fewer items, or read \
         GET /v1/decisions/{{id}}/explanation of those that are recorded",
        snapshot.lines.len()
    );
    Err(vec![Violation::new("/explain", "too_much", detail)])
}

/// The registered placements that a request names.
fn registered<'a>(snapshot: &'a Snapshot, request: &AdRequest) -> Result<Vec<Option<&'a Placement>>, Vec<Violation>> {
    let mut faults = Violations::new();
    let mut found = Vec::with_capacity(request.placements.len());
    for (at, placement) in request.placements.iter().enumerate() {
        found.push(placement.placement.as_ref().and_then(|id| {
            let known = snapshot.placements.get(id);
            if known.is_none() {
                faults.extend_under(&format!("/placements/{at}"), [unknown_placement(id)]);
            }
            known
        }));
    }
    faults.into_result().map(|()| found)
}

/// What is wrong with a slot whose placement is not registered.
#[must_use]
pub fn unknown_placement(id: &PlacementId) -> Violation {
    Violation::new("/placement", "unknown_placement", format!("no placement {id} is registered"))
}

/// Memberships that no rule decides: recorded, brought by the request, or pretended by a preview.
/// The first one stated for a segment holds.
fn forced(
    snapshot: &Snapshot,
    request: &AdRequest,
    person: &Person<'_>,
    purposes: Purposes,
) -> Vec<(SegmentIx, Verdict)> {
    let ix = |key: &SegmentKey| snapshot.rules.ix(key);
    let mut forced = Vec::new();
    if let Some(preview) = &request.preview {
        let stated = |keys: &[SegmentKey], holds| -> Vec<_> {
            keys.iter().filter_map(|key| Some((ix(key)?, Verdict::constant(holds)))).collect()
        };
        forced.extend(stated(&preview.deny_segments, false));
        forced.extend(stated(&preview.force_segments, true));
    }
    let brought = if purposes.profile_read { &*request.segments } else { &[] };
    forced.extend(brought.iter().filter_map(|key| Some((ix(key)?, Verdict::ALWAYS))));
    forced.extend(person.recorded.iter().filter_map(|(key, verdict)| Some((ix(key)?, *verdict))));
    forced
}

/// The contexts of those placements that bring keywords beside those of the page.
fn contexts(request: &AdRequest) -> BTreeMap<usize, Context> {
    let own = |placement: &PlacementRequest| Context {
        keywords: {
            let own = placement.keywords.iter().map(|word| Folded::new(word));
            own.chain(request.context.keywords.iter().cloned()).collect()
        },
        ..request.context.clone()
    };
    let bring = request.placements.iter().enumerate().filter(|(_, placement)| !placement.keywords.is_empty());
    bring.map(|(at, placement)| (at, own(placement))).collect()
}

/// The named generator over a seed: ChaCha8, whose stream is the same everywhere.
fn generator(seed: Seed) -> ChaCha8Rng {
    let mut whole = *b"tessera-decision----------------";
    whole[16..].copy_from_slice(&seed.0);
    ChaCha8Rng::from_seed(whole)
}

/// A UUIDv7 (RFC 9562 section 5.7) whose random bits come from the seed's generator.
fn uuid_v7(now: Millis, random: &mut ChaCha8Rng) -> uuid::Uuid {
    let mut bytes = [0; 10];
    random.fill_bytes(&mut bytes);
    uuid::Builder::from_unix_timestamp_millis(now.0.max(0).unsigned_abs(), &bytes).into_uuid()
}
