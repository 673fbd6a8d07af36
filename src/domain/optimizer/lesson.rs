//! An outcome as something to learn from.

use crate::domain::{
    optimizer::{
        layout::{DEFAULT, Layout},
        statistics::{Count, Statistics, finite},
    },
    values::Millis,
};

/// One outcome of one decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lesson<'a> {
    /// Per slot the number of the component that was shown, or [`DEFAULT`].
    pub choice: &'a [u16],
    /// The features of the person and the request, ascending.
    pub features: &'a [u16],
    /// What happened.
    pub kind: LessonKind,
    /// When the decision was made, whose outcome this is.
    pub at: Millis,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LessonKind {
    /// It was shown, which counts as unrewarded until a reward comes.
    Shown,
    /// It did what the campaign is for.
    Rewarded {
        /// 1 for a click; for a conversion with a value, that value in units of the usual one.
        value: f64,
    },
}

/// Why nothing can be learned from an outcome.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum LessonError {
    /// A choice for another number of slots.
    #[error("the choice has {found} slots, the creative {expected}")]
    Slots {
        /// Slots of the creative.
        expected: usize,
        /// Slots of the choice.
        found: usize,
    },
    /// A component that the slot does not have.
    #[error("slot {slot} has no component {component}")]
    Component {
        /// The slot.
        slot: usize,
        /// The component's number.
        component: u16,
    },
    /// A feature that is not known, or stands out of order or twice.
    #[error("feature {0} is unknown or out of order")]
    Feature(u16),
    /// A value that cannot be learned from.
    #[error("a value must be a number from 0 to 1,000, not {0}")]
    Value(f64),
}

impl Lesson<'_> {
    /// The greatest value of a reward, in units of the usual one.
    pub const MOST_VALUE: f64 = 1_000.0;

    /// The value of the reward; 0 for an impression.
    pub(super) fn value(&self) -> Result<f64, LessonError> {
        match self.kind {
            LessonKind::Shown => Ok(0.0),
            LessonKind::Rewarded { value } if (0.0..=Self::MOST_VALUE).contains(&value) => Ok(value),
            LessonKind::Rewarded { value } => Err(LessonError::Value(value)),
        }
    }
}

impl Layout {
    /// Whether it has what a choice and features name.
    ///
    /// # Errors
    /// The first thing that it lacks.
    pub fn check(&self, choice: &[u16], features: &[u16]) -> Result<(), LessonError> {
        if choice.len() != self.slots() {
            return Err(LessonError::Slots { expected: self.slots(), found: choice.len() });
        }
        let unknown = |(slot, one): &(usize, &u16)| **one != DEFAULT && self.component(*slot, **one).is_none();
        if let Some((slot, component)) = choice.iter().enumerate().find(unknown) {
            return Err(LessonError::Component { slot, component: *component });
        }
        let mut least = 0;
        for &feature in features {
            if usize::from(feature) < least || usize::from(feature) >= self.features() {
                return Err(LessonError::Feature(feature));
            }
            least = usize::from(feature) + 1;
        }
        Ok(())
    }
}

impl Statistics {
    /// Counts a checked lesson.
    pub(super) fn tally(&mut self, lesson: &Lesson<'_>) {
        match lesson.kind {
            LessonKind::Shown => {
                self.active = self.active.saturating_add(lesson.features.len() as u64);
                self.recent = finite(self.recent + 1.0);
                for (slot, one) in lesson.choice.iter().enumerate() {
                    if let Some(at) = self.layout.component(slot, *one) {
                        self.recently[at] = finite(self.recently[at] + 1.0);
                    }
                }
                self.count_each(lesson, |count| count.shown = count.shown.saturating_add(1));
            }
            LessonKind::Rewarded { value } => self.count_each(lesson, |count| {
                count.rewarded = count.rewarded.saturating_add(1);
                count.value = finite(count.value + value);
            }),
        }
    }

    fn count_each(&mut self, lesson: &Lesson<'_>, note: impl Fn(&mut Count)) {
        note(&mut self.total);
        let components = self.layout.components();
        for (slot, &one) in lesson.choice.iter().enumerate() {
            let Some(at) = self.layout.component(slot, one) else { continue };
            note(&mut self.counts[at]);
            for &feature in lesson.features {
                note(&mut self.counts[(usize::from(feature) + 1) * components + at]);
            }
        }
    }
}
