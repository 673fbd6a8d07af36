//! What is learned about: one creative's slots and components, and the features of those who see it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::{ComponentId, SlotName},
    optimizer::layout::Layout,
    violation::{Violation, Violations},
};

/// What is learned about one creative of one campaign.
///
/// A component, slot or feature keeps its number for good, so that what was learned and counted stays
/// true when the creative is revised. A component that was deleted is no longer chosen, and what was
/// learned of it is kept until others need its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    slots: Vec<ShapeSlot>,
    /// Names such as `segment:frequent-traveller`, `device:mobile`, `geo:DE`, `daypart:18`.
    features: Vec<String>,
}

/// A slot and every component it ever had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShapeSlot {
    /// The slot.
    pub name: SlotName,
    /// Its components, by number.
    pub components: Vec<ComponentId>,
    /// The numbers of those that nothing is learned about any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<u16>,
}

impl Shape {
    /// Features that are told apart unless the caller asks for another number.
    pub const FEATURES: usize = 64;
    /// Slots at most.
    pub const MOST_SLOTS: usize = 64;
    /// Components of a slot that something is learned about, at most.
    pub const MOST_COMPONENTS: usize = 1_024;
    /// Components that a slot ever has, at most.
    pub const MOST_NUMBERS: usize = 16_384;
    /// Features at most.
    pub const MOST_FEATURES: usize = 1_024;
    /// The longest name of a feature, in bytes.
    pub const LONGEST_FEATURE: usize = 128;

    /// Its slots, by number.
    #[must_use]
    pub fn slots(&self) -> &[ShapeSlot] {
        &self.slots
    }

    /// Its features, by number.
    #[must_use]
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// The number of a slot.
    #[must_use]
    pub fn slot(&self, name: &SlotName) -> Option<usize> {
        self.slots.iter().position(|slot| slot.name == *name)
    }

    /// The number of a component within its slot.
    #[must_use]
    pub fn component(&self, slot: usize, id: &ComponentId) -> Option<u16> {
        self.slots.get(slot)?.components.iter().position(|known| known == id).map(|at| at as u16)
    }

    /// The number of a feature.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<u16> {
        self.features.iter().position(|known| known == name).map(|at| at as u16)
    }

    /// The number of a slot, which it gets now if it has none. `None` when there are
    /// [`Self::MOST_SLOTS`].
    pub fn admit_slot(&mut self, name: &SlotName) -> Option<usize> {
        if let Some(known) = self.slot(name) {
            return Some(known);
        }
        let room = self.slots.len() < Self::MOST_SLOTS;
        room.then(|| self.slots.push(ShapeSlot { name: name.clone(), components: Vec::new(), gone: BTreeSet::new() }))?;
        Some(self.slots.len() - 1)
    }

    /// The number of a component of a slot of this shape, which it gets now if it has none. `None`
    /// when there is no such slot, or it has [`Self::MOST_COMPONENTS`] or had [`Self::MOST_NUMBERS`].
    pub fn admit_component(&mut self, slot: usize, id: &ComponentId) -> Option<u16> {
        let known = self.component(slot, id);
        let of = self.slots.get_mut(slot)?;
        if let Some(number) = known.filter(|number| !of.gone.contains(number)) {
            return Some(number);
        }
        (of.components.len() - of.gone.len() < Self::MOST_COMPONENTS).then_some(())?;
        if let Some(number) = known {
            of.gone.remove(&number);
            return Some(number);
        }
        (of.components.len() < Self::MOST_NUMBERS).then(|| of.components.push(id.clone()))?;
        Some((of.components.len() - 1) as u16)
    }

    /// Gives up the places of a slot's components that are not `wanted`, with what was learned of them.
    pub fn retire(&mut self, slot: usize, wanted: impl Fn(&ComponentId) -> bool) {
        let Some(of) = self.slots.get_mut(slot) else { return };
        let unwanted = of.components.iter().enumerate().filter(|(_, id)| !wanted(id));
        of.gone.extend(unwanted.map(|(number, _)| number as u16));
    }

    /// The number of a feature, which it gets now if it has none. `None` when there are `most`
    /// already, or its name is empty or too long.
    pub fn admit_feature(&mut self, name: &str, most: usize) -> Option<u16> {
        if let Some(known) = self.feature(name) {
            return Some(known);
        }
        let fits = (1..=Self::LONGEST_FEATURE).contains(&name.len());
        (fits && self.features.len() < most.min(Self::MOST_FEATURES)).then(|| self.features.push(name.to_owned()))?;
        Some((self.features.len() - 1) as u16)
    }

    /// Where what is learned about it stands.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let numbers = |slot: &ShapeSlot| -> Vec<u16> {
            (0..slot.components.len() as u16).filter(|number| !slot.gone.contains(number)).collect()
        };
        Layout::of(self.slots.iter().map(numbers).collect(), self.features.len() as u16)
    }

    /// Whether a shape that was read from outside is one.
    ///
    /// # Errors
    /// Every name given twice and every list too long.
    pub fn check(&self) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        let mut limit = |pointer: String, length: usize, most: usize| {
            if length > most {
                faults.push(pointer, "max_items", format!("must have at most {most} items"));
            }
        };
        limit("/slots".into(), self.slots.len(), Self::MOST_SLOTS);
        limit("/features".into(), self.features.len(), Self::MOST_FEATURES);
        for (at, slot) in self.slots.iter().enumerate() {
            let gone = slot.gone.iter().filter(|number| usize::from(**number) < slot.components.len()).count();
            limit(format!("/slots/{at}/components"), slot.components.len(), Self::MOST_NUMBERS);
            limit(format!("/slots/{at}/components"), slot.components.len() - gone, Self::MOST_COMPONENTS);
            limit(format!("/slots/{at}/gone"), slot.gone.len(), gone);
        }
        twice(self.slots.iter().map(|slot| slot.name.as_str()), |at| format!("/slots/{at}/name"), &mut faults);
        for (slot, components) in self.slots.iter().map(|slot| &slot.components).enumerate() {
            let pointer = |at| format!("/slots/{slot}/components/{at}");
            twice(components.iter().map(ComponentId::as_str), pointer, &mut faults);
        }
        twice(self.features.iter().map(String::as_str), |at| format!("/features/{at}"), &mut faults);
        for (at, feature) in self.features.iter().enumerate() {
            if !(1..=Self::LONGEST_FEATURE).contains(&feature.len()) {
                let detail = format!("must be 1 to {} bytes long", Self::LONGEST_FEATURE);
                faults.push(format!("/features/{at}"), "length", detail);
            }
        }
        faults.into_result()
    }
}

fn twice<'a>(names: impl Iterator<Item = &'a str>, pointer: impl Fn(usize) -> String, faults: &mut Violations) {
    let mut seen = BTreeSet::new();
    for (at, name) in names.enumerate() {
        if !seen.insert(name) {
            faults.push(pointer(at), "duplicate", format!("{name} is here twice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_when_it_grows() {
        let mut shape = Shape::default();
        let (image, cta): (SlotName, SlotName) = ("image".parse().expect("a name"), "cta".parse().expect("a name"));
        let id = |text: &str| text.parse::<ComponentId>().expect("an id");
        assert_eq!(shape.admit_slot(&image), Some(0));
        assert_eq!(shape.admit_slot(&cta), Some(1));
        assert_eq!(shape.admit_slot(&image), Some(0));
        assert_eq!(shape.admit_component(0, &id("beach")), Some(0));
        assert_eq!(shape.admit_component(1, &id("go")), Some(0));
        assert_eq!(shape.admit_component(0, &id("city")), Some(1));
        assert_eq!(shape.admit_component(0, &id("beach")), Some(0));
        assert_eq!(shape.admit_component(7, &id("beach")), None);
        assert_eq!(shape.admit_feature("device:mobile", 1), Some(0));
        assert_eq!(shape.admit_feature("geo:DE", 1), None);
        assert_eq!(shape.admit_feature("device:mobile", 1), Some(0));
        assert_eq!(shape.layout(), Layout::new(&[2, 1], 1));
        assert_eq!(shape.check(), Ok(()));
        let written = serde_json::to_value(&shape).expect("a document");
        assert_eq!(serde_json::from_value::<Shape>(written).expect("a shape"), shape);
    }

    #[test]
    fn places_of_what_is_gone_are_given_to_others_and_numbers_are_not() {
        let mut shape = Shape::default();
        let slot = shape.admit_slot(&"image".parse().expect("a name")).expect("room");
        let id = |n: usize| format!("c{n}").parse::<ComponentId>().expect("an id");
        for n in 0..Shape::MOST_COMPONENTS {
            assert_eq!(shape.admit_component(slot, &id(n)), Some(n as u16));
        }
        assert_eq!(shape.admit_component(slot, &id(5_000)), None);
        shape.retire(slot, |of| *of != id(3) && *of != id(7));
        assert_eq!(shape.admit_component(slot, &id(5_000)), Some(1_024));
        assert_eq!(shape.admit_component(slot, &id(7)), Some(7), "its own");
        assert_eq!(shape.admit_component(slot, &id(3)), None, "no room");
        assert_eq!(shape.component(slot, &id(3)), Some(3), "what was counted keeps its name");
        assert_eq!(shape.check(), Ok(()));
        let layout = shape.layout();
        assert_eq!((layout.components(), layout.component(slot, 3)), (1_024, None));
        assert_eq!(layout.component(slot, 1_024), Some(1_023));
        let written = serde_json::to_value(&shape).expect("a document");
        assert_eq!(serde_json::from_value::<Shape>(written).expect("a shape"), shape);
    }

    #[test]
    fn every_fault_is_told() {
        let shape: Shape = serde_json::from_value(serde_json::json!({
            "slots": [{"name": "a", "components": ["x", "x"]}, {"name": "a", "components": []}], "features": ["f", "", "f"]
        }))
        .expect("a document");
        let faults = shape.check().expect_err("faults");
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/slots/1/name", "/slots/0/components/1", "/features/2", "/features/1"]);
    }
}
