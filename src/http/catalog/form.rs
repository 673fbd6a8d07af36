//! A component with its image, as a form.

use std::collections::BTreeMap;

use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    domain::{
        creative::SlotSpec,
        ids::SlotName,
        violation::{Violation, Violations},
    },
    engine::{
        assets::Assets,
        authoring::upload::Slots,
        images::{Fit, Picture},
    },
    http::{
        assets::focus,
        problem::{Problem, ProblemKind},
    },
};

/// An id, a component without its value, and the sizes in which its slot asks for the image: `None`
/// as it is.
type Filled = (Option<String>, Map<String, Value>, Vec<Option<Fit>>);

/// A component with its image, as a form.
#[derive(ToSchema)]
#[schema(example = json!({"slot": "hero", "image": "(the file)", "alt": "A running shoe", "focus": "0.5,0.3"}))]
#[expect(dead_code, reason = "described here, read part by part")]
pub(super) struct ComponentForm {
    /// The slot it fills: an image slot.
    slot: String,
    /// The image: PNG, JPEG, WebP or GIF, at most 8 MiB. It is cut and scaled to the slot's size in each
    /// template that has the slot, so that one upload fills all of them.
    #[schema(value_type = String, format = Binary)]
    image: Vec<u8>,
    /// What it shows, in words.
    alt: String,
    /// What matters most in it, as shares of its width and height: `0.5,0.3`.
    focus: Option<String>,
    /// Its id; left out: one is made.
    id: Option<String>,
    /// What people call it.
    name: Option<String>,
    /// The language it is written in.
    locale: Option<String>,
    /// Its share among the components of its slot.
    weight: Option<u32>,
    /// `active` or `paused`.
    status: Option<String>,
    /// A targeting rule, in JSON.
    targeting: Option<String>,
    /// When it may be shown, in JSON.
    flight: Option<String>,
}

/// The parts of a form.
pub(super) struct Form {
    pub(super) fields: BTreeMap<String, String>,
    pub(super) image: Bytes,
}

impl Form {
    /// The longest text of a part, in bytes.
    const TEXT: usize = 64 << 10;
    /// The longest form, in bytes: an image, its texts and what separates them.
    const LARGEST: usize = Picture::LARGEST + (1 << 20);
    const FIELDS: [&str; 10] =
        ["slot", "alt", "focus", "id", "name", "locale", "weight", "status", "targeting", "flight"];

    pub(super) async fn read(mut request: Request) -> Result<Self, Problem> {
        let broken = |error: axum::extract::multipart::MultipartError| {
            let kind =
                if error.status().as_u16() == 413 { ProblemKind::PayloadTooLarge } else { ProblemKind::BadRequest };
            Problem::new(kind, "The form broke off, is too large or is no form.").caused_by(error)
        };
        // the usual limit is 2 MiB
        DefaultBodyLimit::max(Self::LARGEST).apply(&mut request);
        let mut parts = Multipart::from_request(request, &()).await.map_err(|error| {
            Problem::new(ProblemKind::BadRequest, "The body is no multipart form.").caused_by(error)
        })?;
        let (mut fields, mut image, mut faults) = (BTreeMap::new(), None, Violations::new());
        while let Some(mut part) = parts.next_field().await.map_err(broken)? {
            let name = part.name().unwrap_or_default().to_owned();
            let most = if name == "image" { Picture::LARGEST } else { Self::TEXT };
            let mut bytes = Vec::new();
            while let Some(piece) = part.chunk().await.map_err(broken)? {
                if bytes.len() + piece.len() > most {
                    return Err(Problem::new(
                        ProblemKind::PayloadTooLarge,
                        format!("The part {name} may have at most {most} bytes."),
                    ));
                }
                bytes.extend_from_slice(&piece);
            }
            if name == "image" {
                image = Some(Bytes::from(bytes));
            } else if !Self::FIELDS.contains(&name.as_str()) {
                let detail = format!("there is no such part; there are image, {}", Self::FIELDS.join(", "));
                faults.push(format!("/{name}"), "unknown_field", detail);
            } else {
                match String::from_utf8(bytes) {
                    Ok(text) => drop(fields.insert(name, text)),
                    Err(_) => faults.push(format!("/{name}"), "not_utf8", "must be UTF-8"),
                }
            }
        }
        for needed in ["slot", "alt"] {
            if !fields.contains_key(needed) {
                faults.push(format!("/{needed}"), "required", "is missing");
            }
        }
        if image.is_none() {
            faults.push("/image", "required", "is missing");
        }
        faults.into_result().map_err(Problem::invalid)?;
        Ok(Self { fields, image: image.unwrap_or_default() })
    }

    /// What the slot that is filled accepts, in each template that has it.
    pub(super) fn specs<'a>(&self, slots: &'a Slots) -> &'a [SlotSpec] {
        let slot = self.fields.get("slot").and_then(|slot| slot.parse::<SlotName>().ok());
        slot.and_then(|slot| slots.get(&slot)).map_or(&[], Vec::as_slice)
    }

    /// The component without its value, its id, and the sizes that its slot asks for: the first is
    /// the one that templates without a size show.
    pub(super) fn document(&self, slots: &Slots) -> Result<Filled, Problem> {
        let mut faults = Violations::new();
        let mut document = Map::new();
        for (name, text) in self.fields.iter().filter(|(_, text)| !text.is_empty()) {
            let value = match name.as_str() {
                "alt" | "focus" | "id" => continue,
                "weight" | "targeting" | "flight" => match serde_json::from_str(text) {
                    Ok(value) => value,
                    Err(_) => {
                        faults.push(format!("/{name}"), "malformed", "must be JSON");
                        continue;
                    }
                },
                _ => json!(text),
            };
            document.insert(name.clone(), value);
        }
        let middle = self.fields.get("focus").map_or(Some((0.5, 0.5)), |text| focus(text));
        if middle.is_none() {
            faults.push(
                "/focus",
                "out_of_range",
                "must be two numbers from 0 to 1 with a comma between, such as 0.5,0.3",
            );
        }
        faults.into_result().map_err(Problem::invalid)?;
        let focus = middle.unwrap_or((0.5, 0.5));
        let mut fits: Vec<Option<Fit>> = Vec::new();
        for spec in self.specs(slots) {
            let fit = spec.width.zip(spec.height).map(|(width, height)| Fit { width, height, focus });
            if !fits.contains(&fit) {
                fits.push(fit);
            }
        }
        fits.sort_by_key(Option::is_some);
        if fits.is_empty() {
            fits.push(None);
        }
        Ok((self.fields.get("id").filter(|id| !id.is_empty()).cloned(), document, fits))
    }

    /// The value that an image is in its slot, in every size that there is.
    pub(super) fn value(&self, slots: &Slots, pictures: &[Picture]) -> Result<Value, Problem> {
        for spec in self.specs(slots) {
            let shown = |picture: &&Picture| {
                spec.width.is_none_or(|width| width == picture.width)
                    && spec.height.is_none_or(|height| height == picture.height)
            };
            let Some((most, picture)) = spec.max_bytes.zip(pictures.iter().find(shown)) else { continue };
            if picture.bytes.len() > most as usize {
                let Picture { width, height, bytes, .. } = picture;
                let detail = format!(
                    "the slot takes at most {most} bytes; the picture has {} as it would be served in {width}x{height}",
                    bytes.len()
                );
                return Err(Problem::invalid(vec![Violation::new("/image", "too_large", detail)]));
            }
        }
        let file = |picture: &Picture| json!({"src": Assets::url(&picture.name), "width": picture.width, "height": picture.height});
        let [first, others @ ..] = pictures else { return Err(Problem::internal("an image came to nothing")) };
        let mut value = file(first);
        value["alt"] = json!(self.fields.get("alt"));
        if !others.is_empty() {
            value["renditions"] = others.iter().map(file).collect();
        }
        Ok(value)
    }
}
