//! Which video of a creative a player is shown, and which values a native answer has room for.

use super::creative::{Choice, Creative, Place, Variant};
use crate::domain::creative::{NativeRequest, Video, VideoRequest};

impl Creative {
    /// Whether a variant could show a player something that it takes; always, where it is no video.
    #[must_use]
    pub fn may_play(&self, variant: usize, wanted: Option<&VideoRequest>) -> bool {
        let Some((place, wanted)) = self.variants[variant].video().zip(wanted) else { return true };
        let candidates = &self.slots[place.slot].candidates;
        let mut components = candidates.iter().map(|at| &self.components[*at as usize]);
        components.any(|component| component.video.as_deref().is_some_and(|video| wanted.takes(video)))
            || place.default.video().is_some_and(|video| wanted.takes(video))
    }

    /// Whether a variant has something within the bounds of every asset that a native answer must have; always, where
    /// it is no native ad.
    #[must_use]
    pub fn may_answer(&self, variant: usize, wanted: Option<&NativeRequest>) -> bool {
        let (of, Some(wanted)) = (&self.variants[variant], wanted) else { return true };
        of.template.may_answer(wanted, |slot| {
            let place = of.places.get(slot);
            place.into_iter().flat_map(|place| place.prepared.iter().chain([&place.default]))
        })
    }

    /// Whether a native answer is possible with the component at a position among a slot's candidates.
    #[must_use]
    pub fn answers(&self, variant: usize, slot: usize, at: usize, wanted: &NativeRequest) -> bool {
        let of = &self.variants[variant];
        let place = of.places.iter().enumerate().find(|(_, place)| place.slot == slot);
        let value = place.and_then(|(number, place)| Some((number, place.prepared.get(at)?)));
        value.is_none_or(|(number, value)| of.template.answers(number, value, wanted))
    }

    /// The video that a choice shows in a variant, and a hash of it.
    #[must_use]
    pub fn video(&self, variant: usize, choice: &Choice) -> Option<(&Video, u64)> {
        let place = self.variants[variant].video()?;
        match self.chosen(place.slot, choice) {
            Some(component) => Some((component.video.as_deref()?, component.fingerprint)),
            None => Some((place.default.video()?, place.default_fingerprint)),
        }
    }
}

impl Variant {
    /// What may stand in the slot of the video that it plays, if it plays one.
    fn video(&self) -> Option<&Place> {
        self.places.get(self.template.video_slot()?)
    }
}
