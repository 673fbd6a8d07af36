//! IAB Native 1.2 answers. Field names and numbers are the specification's (sections 5 and 7).

use serde::Serialize;

use super::{
    assemble::{Dynamic, Prepared},
    documents::{NativeDoc, NativeKind, SlotType},
    escape,
    field::{self, Field},
    template::{Declared, Program, Template},
    value::SlotValue,
};
use crate::domain::violation::{Violation, Violations};

/// The assets of a native template, with the index of the slot that fills each.
#[derive(Debug)]
pub(super) struct Native {
    assets: Vec<Asset>,
}

#[derive(Debug, Clone, Copy)]
struct Asset {
    id: u32,
    required: bool,
    kind: NativeKind,
    slot: usize,
    /// The index among the assets of the same slot.
    place: usize,
}

#[derive(Serialize)]
struct AssetJson<'a> {
    id: u32,
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

#[derive(Serialize)]
struct Link<'a> {
    url: &'a str,
}

#[derive(Serialize)]
struct EventTracker<'a> {
    /// 1 impression, 2 viewable (MRC, half of it for a second).
    event: u8,
    /// 1 a pixel.
    method: u8,
    url: &'a str,
}

impl NativeKind {
    /// The `type` of an image or of data.
    fn number(self) -> u8 {
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

    /// Each asset of the slot as JSON; none for an absent value.
    pub(super) fn prepare(&self, slot: usize, value: &SlotValue) -> Prepared {
        let places =
            self.assets.iter().filter(|asset| asset.slot == slot).filter_map(|asset| asset.json(value)).collect();
        Prepared { present: *value != SlotValue::Absent, places, ..Prepared::default() }
    }
}

impl Asset {
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
        escape::json(&AssetJson { id: self.id, required: u8::from(self.required), value }, &mut json);
        Some(json.into())
    }
}

/// Appends the Native 1.2 answer that a `native` template makes of the values chosen for its slots,
/// in the order of [`Template::slots`]; a slot without one shows its default. `wrapper` puts it under
/// `native`, as some exchanges ask. Nothing for an `html` template.
///
/// The JSON holds no `<`, `>` or `&`, so that it is inert where a page prints it into a script.
pub fn assemble_native(
    template: &Template,
    chosen: &[&Prepared],
    dynamic: &Dynamic<'_>,
    wrapper: bool,
    out: &mut String,
) {
    let Program::Native(native) = &template.program else { return };
    out.push_str(if wrapper { "{\"native\":{\"ver\":\"1.2\",\"assets\":[" } else { "{\"ver\":\"1.2\",\"assets\":[" });
    let mut first = true;
    for asset in &native.assets {
        let prepared = chosen.get(asset.slot).copied().or_else(|| template.default_of(asset.slot));
        if let Some(json) = prepared.and_then(|prepared| prepared.places.get(asset.place)) {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            out.push_str(json);
        }
    }
    out.push_str("],\"link\":");
    escape::json(&Link { url: escape::link(dynamic.click_url) }, out);
    out.push_str(",\"eventtrackers\":");
    let trackers = [(1, dynamic.impression_url), (2, dynamic.view_url)].map(|(event, url)| EventTracker {
        event,
        method: 1,
        url: escape::link(url),
    });
    escape::json(&trackers, out);
    out.push_str(if wrapper { "}}" } else { "}" });
}
