//! Which video of a creative a player is shown.

use super::creative::{Choice, Creative, Place, Variant};
use crate::domain::creative::{Video, VideoRequest};

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
