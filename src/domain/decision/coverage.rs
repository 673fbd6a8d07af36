//! Which creative serves where, in which language, to whom and when: asked of the code that decides,
//! at every instant at which the answer can change.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use crate::domain::{
    audience::{
        compile::{Condition, SegmentIx},
        context::{Context, LocalTime},
        evaluate::{Evaluator, UserView},
        verdict::Verdict,
    },
    catalog::{
        creative::Creative,
        document::{CampaignStatus, Rotation},
        snapshot::Snapshot,
    },
    decision::{
        choose::{Manner, eligible},
        eligibility::{Ask, Seen, screen},
        request::PlacementRequest,
        rotation::Sticky,
    },
    ids::{CampaignId, CreativeId, PlacementId},
    values::{Format, Locale, Millis, Size},
};

/// A place, a reader and a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The registered placement.
    pub placement: PlacementId,
    /// One of its formats.
    pub format: Format,
    /// One of its sizes; none for formats without one.
    pub size: Option<Size>,
    /// The reader's language, if it is known.
    pub language: Option<Locale>,
    /// The only segment that the person is in, if any.
    pub segment: Option<SegmentIx>,
}

/// What serves in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serving {
    /// The eligible campaigns of the highest tier that has any, with the creatives that fit.
    Campaigns(Vec<(CampaignId, Vec<CreativeId>)>),
    /// The placement's house creative.
    House(CreativeId),
    /// Nothing.
    Nothing,
}

/// What serves in a cell, and what does not come to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What serves.
    pub serving: Serving,
    /// Campaigns that may serve as well, but are outranked.
    pub outranked: Vec<CampaignId>,
    /// Of the creatives that serve those that have components and show none of them here.
    pub only_defaults: Vec<CreativeId>,
}

/// What serves in a cell for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// First instant.
    pub from: Millis,
    /// The instant after the last.
    pub to: Millis,
    /// What is found throughout.
    pub found: Found,
}

/// What is known of every request beside its cell.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// Where, on what and about what; the language and the time are those of the cell.
    pub context: Context,
    /// The zone of its hours and days.
    pub zone: TimeZone,
}

impl Default for Circumstances {
    fn default() -> Self {
        Self { context: Context::default(), zone: TimeZone::UTC }
    }
}

/// The instants from `from` on and before `to` at which the answer can change, with `from` itself:
/// flights and dayparts of active campaigns and flights of what they show begin or end, and, where
/// anything is targeted by it, the hour.
#[must_use]
pub fn changes(snapshot: &Snapshot, zone: &TimeZone, from: Millis, to: Millis) -> Vec<Millis> {
    let active = || snapshot.lines.iter().filter(|line| line.campaign.status == CampaignStatus::Active);
    let houses = snapshot.placements.values().filter_map(|placement| snapshot.creatives.get(placement.house.as_ref()?));
    let creatives: Vec<&Creative> =
        active().flat_map(|line| &line.creatives).chain(houses).map(std::convert::AsRef::as_ref).collect();
    let components = || creatives.iter().flat_map(|creative| creative.components.iter()).filter(|one| one.active);
    let flights = active().flat_map(|line| line.campaign.flight.changes(from, to));
    let within: BTreeSet<Millis> = components()
        .flat_map(|one| [one.start, one.end].into_iter().flatten())
        .chain(flights)
        .filter(|at| (from..to).contains(at))
        .chain([from])
        .collect();
    let conditions = active().filter_map(|line| line.campaign.condition.as_ref());
    let mut conditions = conditions.chain(components().filter_map(|one| one.condition.as_deref()));
    let mut all = within;
    if conditions.any(Condition::moves) {
        let next = |at: &Millis| Some(LocalTime::of(*at, zone)?.until).filter(|next| next < &to && next > at);
        all.extend(std::iter::successors(Some(from), next));
    }
    all.into_iter().collect()
}

/// What serves in a cell from the first of `changes` up to `to`; stretches in which the same serves
/// are one.
#[must_use]
pub fn stretches(
    snapshot: &Snapshot,
    cell: &Cell,
    beside: &Circumstances,
    changes: &[Millis],
    to: Millis,
) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for (at, from) in changes.iter().enumerate() {
        let until = changes.get(at + 1).copied().unwrap_or(to);
        let found = serving(snapshot, cell, beside, *from);
        match stretches.last_mut() {
            Some(last) if last.found == found => last.to = until,
            _ => stretches.push(Stretch { from: *from, to: until, found }),
        }
    }
    stretches
}

/// What serves in a cell at an instant.
#[must_use]
pub fn serving(snapshot: &Snapshot, cell: &Cell, beside: &Circumstances, now: Millis) -> Found {
    let forced: Vec<_> = cell.segment.iter().map(|ix| (*ix, Verdict::ALWAYS)).collect();
    let view = UserView { forced: &forced, only_forced: true, ..UserView::default() };
    let local = LocalTime::of(now, &beside.zone);
    let context = Context { language: cell.language.clone(), local, ..beside.context.clone() };
    let mut evaluator = Evaluator::new(&snapshot.rules, view, &context, now);
    let seen = Seen { countable: true, state: None, reserved: &[], shown: Vec::new() };
    let request = PlacementRequest::default();
    let (formats, sizes) = ([cell.format], cell.size);
    let ask = Ask {
        placement: 0,
        position: 0,
        request: &request,
        registered: Some(&cell.placement),
        formats: &formats,
        sizes: sizes.as_slice(),
        pinned: false,
        now,
    };
    let mut tier = None;
    let (mut campaigns, mut outranked) = (Vec::new(), Vec::new());
    let mut only_defaults = BTreeSet::new();
    let mut bare = |creative: &Creative, variant: usize, evaluator: &mut Evaluator<'_>| {
        if bare(creative, variant, cell.language.as_ref(), evaluator, now) {
            only_defaults.insert(creative.id.clone());
        }
    };
    for line in &snapshot.lines {
        if screen(line, &ask, &mut evaluator, &seen).is_some() {
            continue;
        }
        if tier.is_some_and(|tier| tier < line.campaign.priority) {
            outranked.push(line.campaign.id.clone());
            continue;
        }
        tier = Some(line.campaign.priority);
        let mut fitting = Vec::new();
        for creative in &line.creatives {
            if let Some((variant, _)) = ask.variant(creative) {
                bare(creative, variant, &mut evaluator);
                fitting.push(creative.id.clone());
            }
        }
        campaigns.push((line.campaign.id.clone(), fitting));
    }
    let house = snapshot.placements.get(&cell.placement).and_then(|placement| placement.house.as_ref());
    let house = house.and_then(|id| snapshot.creatives.get(id)).filter(|_| campaigns.is_empty());
    let serving = match house.and_then(|creative| Some((creative, ask.variant(creative)?))) {
        _ if !campaigns.is_empty() => Serving::Campaigns(campaigns),
        Some((creative, (variant, _))) => {
            bare(creative, variant, &mut evaluator);
            Serving::House(creative.id.clone())
        }
        None => Serving::Nothing,
    };
    Found { serving, outranked, only_defaults: only_defaults.into_iter().collect() }
}

/// Whether a creative that has components for a template shows none of them.
fn bare(
    creative: &Creative,
    variant: usize,
    language: Option<&Locale>,
    evaluator: &mut Evaluator<'_>,
    now: Millis,
) -> bool {
    let manner = Manner {
        sticky: Sticky(0),
        rotation: Rotation::Even,
        control: None,
        language,
        languages: None,
        video: None,
        native: None,
        now,
    };
    let places = &creative.variants[variant].places;
    if places.iter().all(|place| creative.slots[place.slot].candidates.is_empty()) {
        return false;
    }
    let eligible = eligible(creative, &manner, |component| {
        component.condition.as_ref().is_none_or(|condition| evaluator.condition(condition).holds())
    });
    places.iter().all(|place| eligible[place.slot].is_empty())
}
