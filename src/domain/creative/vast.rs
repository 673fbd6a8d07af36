//! Video templates: which slot is played, and the HTML that goes with it.

use super::{
    documents::{CompanionDoc, SlotType, VastDoc},
    escape, field,
    field::Field,
    html::Html,
    prepared::Prepared,
    slot::Declared,
    value::SlotValue,
};
use crate::domain::{
    ids::SlotName,
    values::Size,
    violation::{Violation, Violations},
};

/// A compiled `vast` template, with the indices of its slots.
#[derive(Debug)]
pub(super) struct Vast {
    pub(super) video: usize,
    pub(super) title: Option<usize>,
    pub(super) description: Option<usize>,
    pub(super) skip_after_ms: Option<u32>,
    pub(super) companions: Vec<Companion>,
}

/// HTML beside or behind a video.
#[derive(Debug)]
pub(super) struct Companion {
    pub(super) size: Size,
    pub(super) end_card: bool,
    pub(super) html: Html,
}

impl Vast {
    /// The place of a slot's words: its title or description.
    pub(super) const WORDS: usize = 0;

    pub(super) fn compile(doc: &VastDoc, slots: &[Declared]) -> Result<Self, Vec<Violation>> {
        let mut faults = Violations::new();
        let mut slot = |at: &str, name: &SlotName, takes: &[SlotType], hint: &str| {
            let found = slots.iter().position(|slot| slot.name == *name);
            match found {
                None => faults.push(at, "unknown_slot", format!("there is no slot {name}")),
                Some(found) if !takes.contains(&slots[found].kind) => faults.push(at, "slot_type", hint),
                Some(found) if slots[found].optional && takes == [SlotType::Video] => {
                    faults.push(at, "slot_unguarded", "what is played must not be optional");
                }
                _ => {}
            }
            found
        };
        let video = slot("/video", &doc.video, &[SlotType::Video], "must be a slot of type video");
        let words = [SlotType::Text, SlotType::Legal];
        let title = doc.title.as_ref().and_then(|name| slot("/title", name, &words, "must be a slot of text"));
        let description =
            doc.description.as_ref().and_then(|name| slot("/description", name, &words, "must be a slot of text"));
        if doc.skip_after_ms.is_some_and(|ms| ms > 3_600_000) {
            faults.push("/skip_after_ms", "out_of_range", "must be at most 3600000");
        }
        if doc.companions.len() > 8 {
            faults.push("/companions", "out_of_range", "must be at most 8 companions");
        }
        let companions = doc.companions.iter().enumerate();
        let companions: Vec<_> = companions
            .map(|(at, companion)| faults.keep(&format!("/companions/{at}"), Companion::compile(companion, slots)))
            .collect();
        faults.into_result()?;
        let fault = || vec![Violation::new("/video", "unknown_slot", "there is no such slot")];
        Ok(Self {
            video: video.ok_or_else(fault)?,
            title,
            description,
            skip_after_ms: doc.skip_after_ms,
            companions: companions.into_iter().flatten().collect(),
        })
    }

    /// The value as words, as a video, and as each companion shows it.
    pub(super) fn prepare(&self, slot: usize, value: &SlotValue) -> Prepared {
        let named = [self.title, self.description].contains(&Some(slot));
        let words = field::text(value, Field::Whole).filter(|_| named);
        let video = match value {
            SlotValue::Video(video) if slot == self.video => Some(video.clone()),
            _ => None,
        };
        Prepared {
            present: *value != SlotValue::Absent,
            places: words.into_iter().map(|text| escape::xml(&text).into()).collect(),
            video,
            parts: self.companions.iter().map(|companion| companion.html.prepare(slot, value)).collect(),
            ..Prepared::default()
        }
    }
}

impl Companion {
    fn compile(doc: &CompanionDoc, slots: &[Declared]) -> Result<Self, Vec<Violation>> {
        let html = Html::compile_companion(&doc.markup, slots)?;
        Ok(Self { size: doc.size, end_card: doc.end_card, html })
    }
}
