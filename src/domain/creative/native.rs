//! IAB Native 1.2 answers. Field names and numbers are the specification's (sections 5 and 7).

use serde::Serialize;

use super::{
    documents::{NativeDoc, NativeKind, SlotType},
    escape,
    field::{self, Field},
    native_request::WantedKind,
    prepared::Prepared,
    slot::Declared,
    value::SlotValue,
};
use crate::domain::violation::{Violation, Violations};

/// The assets of a native template, with the index of the slot that fills each.
#[derive(Debug)]
pub(super) struct Native {
    pub(super) assets: Vec<Asset>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Asset {
    pub(super) id: u32,
    required: bool,
    pub(super) kind: NativeKind,
    pub(super) slot: usize,
    /// The index among the assets of the same slot.
    pub(super) place: usize,
}

/// An asset without its id, which is ours or that of whoever asks.
#[derive(Serialize)]
struct AssetJson<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    required: u8,
    #[serde(flatten)]
    value: ValueJson<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ValueJson<'a> {
    Title {
        text: &'a str,
        len: usize,
    },
    Img {
        #[serde(rename = "type")]
        kind: u8,
        url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        w: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        h: Option<u32>,
    },
    Data {
        #[serde(rename = "type")]
        kind: u8,
        len: usize,
        value: &'a str,
    },
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

impl NativeKind {
    /// The `type` of an image or of data.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Title => 0,
            Self::Icon | Self::Sponsored => 1,
            Self::Desc => 2,
            Self::MainImage | Self::Rating => 3,
            Self::Likes => 4,
            Self::Downloads => 5,
            Self::Price => 6,
            Self::SalePrice => 7,
            Self::Phone => 8,
            Self::Address => 9,
            Self::Desc2 => 10,
            Self::DisplayUrl => 11,
            Self::Cta => 12,
        }
    }

    fn takes(self, slot: SlotType) -> bool {
        match self {
            Self::Icon | Self::MainImage => slot == SlotType::Image,
            Self::Title => slot == SlotType::Text,
            Self::DisplayUrl => matches!(slot, SlotType::Text | SlotType::Url),
            _ => matches!(slot, SlotType::Text | SlotType::Legal | SlotType::Number | SlotType::Price),
        }
    }
}

impl Native {
    pub(super) fn compile(doc: &NativeDoc, slots: &[Declared]) -> Result<Self, Vec<Violation>> {
        let mut faults = Violations::new();
        let mut assets: Vec<Asset> = Vec::with_capacity(doc.assets.len());
        if doc.assets.is_empty() || doc.assets.len() > 32 {
            faults.push("/assets", "out_of_range", "must hold 1 to 32 assets");
        }
        for (index, asset) in doc.assets.iter().enumerate() {
            let at = format!("/assets/{index}");
            if doc.assets[..index].iter().any(|other| other.id == asset.id) {
                faults.push(format!("{at}/id"), "duplicate", "another asset has this id");
            }
            let Some(slot) = slots.iter().position(|slot| slot.name == asset.slot) else {
                faults.push(format!("{at}/slot"), "unknown_slot", format!("there is no slot {}", asset.slot));
                continue;
            };
            if !asset.kind.takes(slots[slot].kind) {
                faults.push(format!("{at}/slot"), "slot_type", "a slot of this type cannot fill this kind of asset");
            }
            if asset.required && slots[slot].optional {
                faults.push(
                    format!("{at}/slot"),
                    "slot_unguarded",
                    "a required asset needs a slot that is not optional",
                );
            }
            let place = assets.iter().filter(|other| other.slot == slot).count();
            assets.push(Asset { id: asset.id, required: asset.required, kind: asset.kind, slot, place });
        }
        faults.into_result().map(|()| Self { assets })
    }

    /// The assets that may answer one that is asked for.
    pub(super) fn fills<'a>(&'a self, wanted: &'a WantedKind) -> impl Iterator<Item = &'a Asset> {
        self.assets.iter().filter(move |own| wanted.is(own.kind))
    }

    /// Each asset of the slot as JSON, its id to be written before it; none for an absent value.
    pub(super) fn prepare(&self, slot: usize, value: &SlotValue) -> Prepared {
        let places =
            self.assets.iter().filter(|asset| asset.slot == slot).filter_map(|asset| asset.json(value)).collect();
        Prepared { present: *value != SlotValue::Absent, places, ..Prepared::default() }
    }
}

impl Asset {
    /// Whether a value of its slot is within the bounds of what is asked for.
    pub(super) fn fits(&self, value: &Prepared, wanted: &WantedKind) -> bool {
        value.places.get(self.place).is_some_and(|json| wanted.fits(json))
    }

    fn json(&self, value: &SlotValue) -> Option<Box<str>> {
        let text = field::text(value, Field::Whole);
        let kind = self.kind.number();
        let value = match (self.kind, value, &text) {
            (_, SlotValue::Image(image), _) => {
                ValueJson::Img { kind, url: &image.src, w: image.width, h: image.height }
            }
            (NativeKind::Title, _, Some(text)) => ValueJson::Title { text, len: text.chars().count() },
            (_, _, Some(text)) => ValueJson::Data { kind, len: text.chars().count(), value: text },
            _ => return None,
        };
        let mut json = String::new();
        escape::json(&AssetJson { required: u8::from(self.required), value }, &mut json);
        Some(json.into())
    }
}
