//! What was learned from outcomes, as decisions use it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::domain::{
    audience::{
        context::{Context, DAYPARTS},
        evaluate::Evaluator,
    },
    catalog::{
        campaign::Campaign,
        creative::{Creative, Slot},
        snapshot::Snapshot,
        warnings::MOST_LEARNED,
    },
    decision::spaces::{Paired, Spaces},
    ids::{NameHash, PlacementId, SegmentKey},
    measurement::exposure::Exposure,
    optimizer::{By, DEFAULT, Rules as _, Shape, Snapshot as Draws, Space},
};

// what authors are warned of is what there is room for
const _: () = assert!(MOST_LEARNED == Shape::MOST_COMPONENTS);

/// What was learned about every creative of every campaign.
#[derive(Debug, Default)]
pub struct Learned(HashMap<(NameHash, NameHash), Arc<Learner>>);

impl Learned {
    /// What is known of a creative within a campaign.
    #[must_use]
    pub fn of(&self, campaign: &Campaign, creative: &Creative) -> Option<&Arc<Learner>> {
        self.0.get(&(campaign.hash, creative.lasting))
    }
}

impl FromIterator<((NameHash, NameHash), Arc<Learner>)> for Learned {
    fn from_iter<T: IntoIterator<Item = ((NameHash, NameHash), Arc<Learner>)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

/// What was learned about one creative of one campaign.
#[derive(Debug)]
pub struct Learner {
    /// The numbers of its components and of the features of those who see it.
    pub shape: Shape,
    /// Counts what was learned.
    pub version: u64,
    /// The draws that decisions choose among; none where nothing chooses by them.
    pub draws: Option<Draws>,
    asked: AtomicBool,
    spaces: Arc<Spaces>,
    slots: Vec<HashMap<NameHash, u16>>,
    features: Vec<Feature>,
    /// The features that are segments.
    segments: HashMap<SegmentKey, u16>,
}

/// Something about a person or a request that responses may depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feature {
    /// They are in a segment.
    Segment(SegmentKey),
    /// `device.type`.
    Device(Box<str>),
    /// `geo.country`.
    Country(Box<str>),
    /// `daypart`.
    Daypart(Box<str>),
    /// The registered placement.
    Placement(PlacementId),
}

impl Feature {
    /// The feature of this name; `None` when it is of none of these kinds.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, value) = name.split_once(':')?;
        Some(match kind {
            "segment" => Self::Segment(value.parse().ok()?),
            "device" => Self::Device(value.into()),
            "geo" => Self::Country(value.into()),
            "daypart" => Self::Daypart(value.into()),
            "placement" => Self::Placement(value.parse().ok()?),
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        let (kind, value) = match self {
            Self::Segment(key) => ("segment:", key.as_str()),
            Self::Device(name) => ("device:", &**name),
            Self::Country(code) => ("geo:", &**code),
            Self::Daypart(name) => ("daypart:", &**name),
            Self::Placement(id) => ("placement:", id.as_str()),
        };
        [kind, value].concat()
    }
}

/// Segments that are told apart at most.
const SEGMENTS: usize = 52;
/// Countries that are told apart at most: those seen first.
pub const COUNTRIES: usize = 12;
/// Features that are told apart at most.
pub const FEATURES: usize = 84;
/// Placements that are told apart at most.
const PLACEMENTS: usize = 12;

/// Gives numbers to what a creative shows and to the features that every creative has: segments
/// (those that the campaign and its components name first), devices, parts of the day, placements
/// (its own, or the account's where it may serve on all). Whether anything was new.
pub fn admit(shape: &mut Shape, catalog: &Snapshot, campaign: &Campaign, creative: &Creative) -> bool {
    let before = shape.clone();
    for slot in creative.slots.iter() {
        let Some(at) = shape.admit_slot(&slot.name) else { continue };
        let ids = || slot.candidates.iter().map(|at| &creative.components[*at as usize].id);
        let lacks = |shape: &mut Shape| ids().filter(|id| shape.admit_component(at, id).is_none()).count() > 0;
        if lacks(shape) {
            // what the revision does not have makes room
            let own: BTreeSet<_> = ids().collect();
            shape.retire(at, |id| own.contains(id));
            let _still = lacks(shape);
        }
    }
    let named = creative.components.iter().filter_map(|component| component.condition.as_deref());
    let named = campaign.condition.iter().chain(named).flat_map(|condition| condition.segments());
    let mut first: Vec<&SegmentKey> = named.map(|ix| catalog.rules.key(*ix)).collect();
    first.sort_unstable();
    first.dedup();
    let others: BTreeSet<&SegmentKey> = catalog.rules.all().map(|ix| catalog.rules.key(ix)).collect();
    let segments = first.into_iter().chain(others).map(|key| Feature::Segment(key.clone()));
    let everywhere: BTreeSet<&PlacementId> =
        catalog.placements.keys().filter(|_| campaign.placements.is_empty()).collect();
    let placements = campaign.placements.iter().chain(everywhere).map(|id| Feature::Placement(id.clone()));
    let placements: Vec<_> = placements
        .filter(|placement| shape.feature(&placement.name()).is_none())
        .take(PLACEMENTS.saturating_sub(count(shape, "placement:")))
        .collect();
    let devices = ["mobile", "desktop", "tablet", "tv"].map(|device| Feature::Device(device.into()));
    let dayparts = DAYPARTS.map(|part| Feature::Daypart(part.into()));
    let mut left = SEGMENTS.saturating_sub(count(shape, "segment:"));
    for feature in devices.into_iter().chain(dayparts).chain(placements).chain(segments) {
        let name = feature.name();
        let new = shape.feature(&name).is_none();
        let segment = matches!(feature, Feature::Segment(_));
        if new && segment && left == 0 {
            continue;
        }
        left -= usize::from(new && segment);
        shape.admit_feature(&name, FEATURES);
    }
    before != *shape
}

/// How many features of a kind a shape has.
#[must_use]
pub fn count(shape: &Shape, kind: &str) -> usize {
    shape.features().iter().filter(|name| name.starts_with(kind)).count()
}

impl Learner {
    /// What is known, ready to be used.
    #[must_use]
    pub fn new(shape: Shape, version: u64, draws: Option<Draws>) -> Self {
        let slots = shape.slots().iter().map(|slot| {
            let components = slot.components.iter().enumerate();
            components.map(|(at, id)| (NameHash::of(id.as_str()), at as u16)).collect()
        });
        let other = || Feature::Device("".into());
        let features: Vec<_> = shape.features().iter().map(|name| Feature::parse(name).unwrap_or_else(other)).collect();
        let segment = |(number, feature): (usize, &Feature)| match feature {
            Feature::Segment(key) => Some((key.clone(), number as u16)),
            _ => None,
        };
        Self {
            asked: AtomicBool::new(false),
            spaces: Arc::default(),
            slots: slots.collect(),
            segments: features.iter().enumerate().filter_map(segment).collect(),
            features,
            shape,
            version,
            draws,
        }
    }

    /// Notes that decisions choose by it, on which none depends; whether that is news.
    pub fn ask(&self) -> bool {
        !self.asked.load(Ordering::Relaxed) && !self.asked.swap(true, Ordering::Relaxed)
    }

    /// Whether decisions chose by it since this was last asked.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }

    /// The same with what `before` worked out, where that holds here too.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        let layout = |learner: &Self| learner.draws.as_ref().map(|draws| draws.layout().clone());
        let same = self.shape == before.shape && layout(&self) == layout(before);
        if same { Self { spaces: Arc::clone(&before.spaces), ..self } } else { self }
    }

    /// The numbers of the features of a person and a request, ascending, at most
    /// [`Exposure::FEATURES`]. With `all`, every segment that is a feature is looked at, else those
    /// alone that were looked at before.
    pub fn features(
        &self,
        evaluator: &mut Evaluator<'_>,
        context: &Context,
        placement: Option<&PlacementId>,
        all: bool,
    ) -> Vec<u16> {
        let is = |own: Option<&str>, wanted: &str| own == Some(wanted);
        let mut active: Vec<u16> = Vec::new();
        let mut segments = Vec::new();
        for (number, feature) in self.features.iter().enumerate() {
            let number = number as u16;
            let holds = match feature {
                Feature::Device(name) => is(context.device.as_ref().map(|device| device.as_str()), name),
                Feature::Country(code) => context.country.is_some_and(|country| country.as_str() == &**code),
                Feature::Daypart(name) => is(context.daypart(), name),
                Feature::Placement(id) => placement == Some(id),
                Feature::Segment(key) => {
                    if all && evaluator.holds(key) {
                        segments.push(number);
                    }
                    false
                }
            };
            if holds {
                active.push(number);
            }
        }
        if !all {
            segments.extend(evaluator.seen_in().filter_map(|key| self.segments.get(key)));
            segments.sort_unstable();
        }
        segments.truncate(Exposure::FEATURES.saturating_sub(active.len()));
        active.extend(segments);
        active.sort_unstable();
        active
    }

    /// The number of a slot of a creative, and of one of its components.
    fn number(&self, slot: usize, component: NameHash) -> Option<u16> {
        self.slots.get(slot)?.get(&component).copied()
    }

    /// A choice among a creative's candidates in the numbers of what is learned.
    #[must_use]
    pub fn numbered(&self, creative: &Creative, choice: &[Option<u16>]) -> Vec<u16> {
        let mut numbers = vec![DEFAULT; self.shape.slots().len()];
        for (at, slot) in creative.slots.iter().enumerate() {
            let component = creative.chosen(at, choice);
            if let (Some(place), Some(component)) = (self.shape.slot(&slot.name), component) {
                numbers[place] = self.number(place, component.hash).unwrap_or(DEFAULT);
            }
        }
        numbers
    }

    /// The legal combinations of what may be shown: `eligible` has per slot of the creative the
    /// candidates that may stand in it. Where the rules allow some of them only beside the default of
    /// another slot, combinations with defaults are among them, those alone that no component could be
    /// added to. `None` where some slot has candidates and none that is known yet, or where the rules
    /// allow nothing but defaults.
    #[must_use]
    pub fn space(&self, creative: &Arc<Creative>, eligible: &[Vec<u16>]) -> Option<Arc<Space<Paired>>> {
        self.spaces.get(creative, eligible, || self.make_space(creative, eligible))
    }

    fn make_space(&self, creative: &Arc<Creative>, eligible: &[Vec<u16>]) -> Option<Space<Paired>> {
        let draws = self.draws.as_ref()?;
        let places: Vec<Option<usize>> = creative.slots.iter().map(|slot| self.shape.slot(&slot.name)).collect();
        let mut options = vec![Vec::new(); self.shape.slots().len()];
        let mut components = vec![Vec::new(); self.shape.slots().len()];
        for (slot, eligible) in eligible.iter().enumerate() {
            let place = places[slot]?;
            for candidate in eligible {
                let component = creative.slots[slot].candidates[usize::from(*candidate)];
                let number = self.number(place, creative.components[component as usize].hash);
                let Some(number) = number.filter(|number| draws.layout().component(place, *number).is_some()) else {
                    continue;
                };
                options[place].push(number);
                components[place].push((number, component));
            }
            if options[place].is_empty() && !eligible.is_empty() {
                return None;
            }
        }
        let slots = places.into_iter().map(|place| place.unwrap_or_default()).collect();
        // a slot that the draws do not know yet is left to its default
        let known = draws.layout().slots();
        options.truncate(known);
        components.iter_mut().skip(known).for_each(Vec::clear);
        let rules = Paired::new(creative, slots, components);
        let full = Space::new(draws.layout(), options.clone(), rules.clone()).ok();
        if full.as_ref().is_some_and(Space::reaches_all) {
            return full;
        }
        for (place, options) in options.iter_mut().enumerate().filter(|(_, options)| !options.is_empty()) {
            if rules.names(place) {
                options.push(DEFAULT);
            }
        }
        let sparing = Space::new(draws.layout(), options, rules.sparing()).ok();
        // nothing but defaults is no choice
        let chooses =
            |space: &Space<Paired>| space.list_all(1).is_none_or(|all| all.concat().iter().any(|one| *one != DEFAULT));
        sparing.filter(chooses).or(full)
    }

    /// Per slot of the shape the numbers of what may stand in it.
    #[must_use]
    pub fn eligible_numbers(&self, creative: &Creative, eligible: &[Vec<u16>]) -> Vec<Vec<u16>> {
        let mut numbers = vec![Vec::new(); self.shape.slots().len()];
        for (slot, eligible) in creative.slots.iter().zip(eligible) {
            let Some(place) = self.shape.slot(&slot.name) else { continue };
            let number = |at: &u16| {
                let component = slot.candidates[usize::from(*at)] as usize;
                self.number(place, creative.components[component].hash)
            };
            numbers[place].extend(eligible.iter().filter_map(number));
        }
        numbers
    }

    /// Per slot of a creative the candidates that numbers stand for, those that it still has.
    #[must_use]
    pub fn positions(&self, creative: &Creative, numbers: &[Vec<u16>]) -> Vec<Vec<u16>> {
        let of_slot = |slot: &Slot| {
            let numbers = self.shape.slot(&slot.name).and_then(|place| Some((place, numbers.get(place)?)));
            let Some((place, numbers)) = numbers else { return Vec::new() };
            let stands = |at: &u32| {
                let number = self.number(place, creative.components[*at as usize].hash);
                number.is_some_and(|number| numbers.contains(&number))
            };
            let positions = slot.candidates.iter().enumerate().filter(|(_, at)| stands(at));
            positions.map(|(position, _)| position as u16).collect()
        };
        creative.slots.iter().map(of_slot).collect()
    }

    /// The candidates of a creative that a choice by numbers stands for.
    #[must_use]
    pub fn candidates(&self, creative: &Creative, numbers: &[u16]) -> Vec<Option<u16>> {
        let candidate = |slot: &Slot| {
            let place = self.shape.slot(&slot.name)?;
            let number = *numbers.get(place)?;
            let id = self.shape.slots()[place].components.get(usize::from(number))?;
            let at = slot.candidates.iter().position(|at| creative.components[*at as usize].id == *id)?;
            u16::try_from(at).ok()
        };
        creative.slots.iter().map(candidate).collect()
    }
}

/// How a combination was chosen by what was learned.
#[derive(Clone, Debug)]
pub struct Thought {
    /// By what.
    pub learner: Arc<Learner>,
    /// How it came about.
    pub by: By,
    /// Per slot of the creative the candidates that could stand in it.
    pub eligible: Vec<Vec<u16>>,
    /// The features of the person and the request.
    pub features: Vec<u16>,
}

impl Thought {
    /// The draws and the legal combinations that it was chosen among.
    #[must_use]
    pub fn among(&self, creative: &Arc<Creative>) -> Option<(&Draws, Arc<Space<Paired>>)> {
        Some((self.learner.draws.as_ref()?, self.learner.space(creative, &self.eligible)?))
    }

    /// The probability with which this combination was chosen, over all seeds.
    #[must_use]
    pub fn propensity(&self, creative: &Arc<Creative>, choice: &[u16]) -> Option<f64> {
        let (draws, space) = self.among(creative)?;
        Some(draws.propensity(&space, &self.features, &choice[..space.options().len().min(choice.len())]))
    }
}
