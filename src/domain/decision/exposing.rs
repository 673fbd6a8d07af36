//! What is told of a choice to learning and reports, and what gets its numbers only there.

use std::collections::BTreeMap;

use crate::domain::{
    catalog::{campaign::Campaign, creative::Creative, document::Rotation},
    decision::{
        choose::Manner,
        eligibility::Ask,
        learned::{Feature, Learner, Thought},
        run::Run,
        standing::Degraded,
    },
    ids::NameHash,
    measurement::exposure::{Arm, Exposure},
    optimizer::Shape,
};

impl Run<'_> {
    /// What is told of a choice among a creative's candidates, chosen as `manner` says. Components that have
    /// no number yet, because learning has not met them, are told by what stands for them; features too,
    /// where it has not met the creative at all.
    pub(super) fn exposure(
        &mut self,
        (campaign, creative, choice): (&Campaign, &Creative, &[Option<u16>]),
        manner: &Manner<'_>,
        (learner, thought): (Option<&Learner>, Option<&Thought>),
        ask: &Ask<'_>,
    ) -> Exposure {
        let numbers = learner.map(|learner| learner.numbered(creative, choice)).unwrap_or_default();
        let numbered = |slot: usize| {
            let place = learner.and_then(|learner| learner.shape.slot(&creative.slots[slot].name));
            place.is_some_and(|place| numbers[place] != Exposure::DEFAULT)
        };
        let shown = (0..creative.slots.len()).filter_map(|slot| Some((slot, creative.chosen(slot, choice)?)));
        let new = shown.filter(|(slot, _)| !numbered(*slot));
        let new_components = new.map(|(_, component)| Exposure::stand_in(component.hash)).collect();
        let (features, new_features) = match (thought, learner) {
            (Some(thought), _) => (thought.features.clone(), Vec::new()),
            (None, Some(learner)) => {
                // the control is told apart by the same segments as what it is compared with; and who
                // responds to what is asked also of what is shown to everybody
                let named = || {
                    let components = creative.components.iter().filter_map(|one| one.condition.as_deref());
                    let mut conditions = components.chain(campaign.condition.as_ref());
                    conditions.any(|condition| !condition.segments().is_empty())
                };
                let all = self.known && (manner.rotation == Rotation::Optimized || !named());
                let registered = ask.registered;
                (learner.features(&mut self.evaluator, &self.request.context, registered, all), Vec::new())
            }
            (None, None) => (Vec::new(), self.unmet(ask)),
        };
        Exposure {
            arm: match manner.control {
                Some(_) => Arm::Control,
                None if self.known && self.measured => Arm::Personalised,
                None if self.known || self.person.degraded.contains(&Degraded::NoConsent) => Arm::NoConsent,
                None => Arm::Unassigned,
            },
            experiment: campaign.experiment,
            version: thought.map_or(0, |thought| thought.learner.version),
            choice: numbers,
            features,
            new_components,
            new_features,
        }
    }

    /// What stands for the features of the person and the request that are known without looking for more.
    fn unmet(&self, ask: &Ask<'_>) -> Vec<u32> {
        let context = &self.request.context;
        let own = [
            context.device.as_ref().map(|device| Feature::Device(device.as_str().into())),
            context.country.map(|country| Feature::Country(country.as_str().into())),
            context.daypart().map(|part| Feature::Daypart(part.into())),
            ask.registered.map(|placement| Feature::Placement(placement.clone())),
        ];
        let segments = self.evaluator.seen_in().map(|key| Feature::Segment(key.clone()));
        let all = own.into_iter().flatten().chain(segments).take(Exposure::FEATURES);
        all.map(|feature| stand_in(&feature.name())).collect()
    }
}

fn stand_in(name: &str) -> u32 {
    Exposure::stand_in(NameHash::of(name))
}

/// The numbers that a shape gave to what stood for names.
#[derive(Debug)]
pub struct Numbers {
    slots: usize,
    /// None for what could be several.
    components: BTreeMap<u32, Option<(usize, u16)>>,
    features: BTreeMap<u32, u16>,
}

impl Numbers {
    /// Those of a shape.
    #[must_use]
    pub fn of(shape: &Shape) -> Self {
        let mut components = BTreeMap::new();
        for (slot, of) in shape.slots().iter().enumerate() {
            for (number, id) in of.components.iter().enumerate() {
                let known = components.entry(stand_in(id.as_str()));
                known.and_modify(|known| *known = None).or_insert(Some((slot, number as u16)));
            }
        }
        let features = shape.features().iter().enumerate().map(|(number, name)| (stand_in(name), number as u16));
        Self { slots: shape.slots().len(), components, features: features.collect() }
    }

    /// Gives an exposure the numbers of what had none when it was told. Whether all components have theirs
    /// now: where one has not, it is not known what was shown.
    pub fn give(&self, exposure: &mut Exposure) -> bool {
        exposure.choice.resize(exposure.choice.len().max(self.slots), Exposure::DEFAULT);
        let mut whole = true;
        for new in std::mem::take(&mut exposure.new_components) {
            match self.components.get(&new) {
                Some(Some((slot, number))) => exposure.choice[*slot] = *number,
                _ => whole = false,
            }
        }
        let new = std::mem::take(&mut exposure.new_features);
        exposure.features.extend(new.iter().filter_map(|new| self.features.get(new)));
        exposure.features.sort_unstable();
        exposure.features.dedup();
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_no_number_gets_it_once_there_is_one() {
        let mut shape = Shape::default();
        let slot = |shape: &mut Shape, name: &str| shape.admit_slot(&name.parse().expect("a name")).expect("room");
        let (image, text) = (slot(&mut shape, "image"), slot(&mut shape, "text"));
        for (slot, id) in [(image, "beach"), (text, "hello"), (text, "hi"), (image, "moved"), (text, "moved")] {
            shape.admit_component(slot, &id.parse().expect("an id"));
        }
        shape.admit_feature("geo:DE", 9);
        shape.admit_feature("device:mobile", 9);
        let numbers = Numbers::of(&shape);
        let told = |components: &[&str], features: &[&str]| {
            let all = |names: &[&str]| names.iter().map(|name| stand_in(name)).collect();
            Exposure { new_components: all(components), new_features: all(features), ..Exposure::default() }
        };
        let mut exposure = told(&["hi", "beach"], &["device:mobile", "geo:FR", "geo:DE"]);
        assert!(numbers.give(&mut exposure));
        let expected = Exposure { choice: vec![0, 1], features: vec![0, 1], ..Exposure::default() };
        assert_eq!(exposure, expected);
        // what is there already stays
        let mut exposure = Exposure { choice: vec![0], features: vec![1], ..told(&["hello"], &[]) };
        assert!(numbers.give(&mut exposure));
        assert_eq!((exposure.choice, exposure.features), (vec![0, 0], vec![1]));
        for unknown in ["gone", "moved"] {
            assert!(!numbers.give(&mut told(&["beach", unknown], &[])), "{unknown}");
        }
    }
}
