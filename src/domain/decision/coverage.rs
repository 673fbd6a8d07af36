//! Which creative serves where, in which language, to whom and when: asked of the code that decides,
//! at every instant at which the answer can change.

use std::collections::BTreeSet;

use crate::domain::{
    audience::{
        compile::SegmentIx,
        context::{Context, LocalTime},
        evaluate::{Evaluator, UserView},
        verdict::Verdict,
    },
    catalog::snapshot::Snapshot,
    decision::{
        eligibility::{Ask, Seen, screen},
        request::PlacementRequest,
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

/// What serves in a cell for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// First instant.
    pub from: Millis,
    /// The instant after the last.
    pub to: Millis,
    /// What serves.
    pub serving: Serving,
    /// Campaigns that may serve as well, but are outranked.
    pub outranked: Vec<CampaignId>,
}

/// The instants from `from` on and before `to` at which flights or dayparts of an active campaign
/// begin or end, with `from` itself. Targeting by the hour is asked at these instants only.
#[must_use]
pub fn changes(snapshot: &Snapshot, from: Millis, to: Millis) -> Vec<Millis> {
    let all = snapshot.lines.iter().flat_map(|line| line.campaign.flight.changes(from, to));
    let within: BTreeSet<Millis> = all.filter(|at| (from..to).contains(at)).chain([from]).collect();
    within.into_iter().collect()
}

/// What serves in a cell from the first of `changes` up to `to`; stretches in which the same serves
/// are one.
#[must_use]
pub fn stretches(snapshot: &Snapshot, cell: &Cell, changes: &[Millis], to: Millis) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for (at, from) in changes.iter().enumerate() {
        let until = changes.get(at + 1).copied().unwrap_or(to);
        let (serving, outranked) = serving(snapshot, cell, *from);
        match stretches.last_mut() {
            Some(last) if last.serving == serving && last.outranked == outranked => last.to = until,
            _ => stretches.push(Stretch { from: *from, to: until, serving, outranked }),
        }
    }
    stretches
}

/// What serves in a cell at an instant, and which campaigns are outranked there.
#[must_use]
pub fn serving(snapshot: &Snapshot, cell: &Cell, now: Millis) -> (Serving, Vec<CampaignId>) {
    let forced: Vec<_> = cell.segment.iter().map(|ix| (*ix, Verdict::ALWAYS)).collect();
    let view = UserView { forced: &forced, only_forced: true, ..UserView::default() };
    let local = LocalTime::of(now, &jiff::tz::TimeZone::UTC);
    let context = Context { language: cell.language.clone(), local, ..Context::default() };
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
    for line in &snapshot.lines {
        if screen(line, &ask, &mut evaluator, &seen).is_some() {
            continue;
        }
        if tier.is_some_and(|tier| tier < line.campaign.priority) {
            outranked.push(line.campaign.id.clone());
            continue;
        }
        tier = Some(line.campaign.priority);
        let fitting = line.creatives.iter().filter(|creative| ask.variant(creative).is_some());
        campaigns.push((line.campaign.id.clone(), fitting.map(|creative| creative.id.clone()).collect()));
    }
    if !campaigns.is_empty() {
        return (Serving::Campaigns(campaigns), outranked);
    }
    let house = snapshot.placements.get(&cell.placement).and_then(|placement| placement.house.as_ref());
    let house = house.and_then(|id| snapshot.creatives.get(id));
    let fits = house.filter(|creative| ask.variant(creative).is_some());
    (fits.map_or(Serving::Nothing, |creative| Serving::House(creative.id.clone())), outranked)
}
