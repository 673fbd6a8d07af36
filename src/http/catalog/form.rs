//! A component with its image, as a form.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Multipart, Request};
use bytes::Bytes;
use serde_json::{Map, json};

use crate::{
    domain::{creative::SlotSpec, ids::SlotName, violation::Violations},
    engine::images::{Fit, Picture},
    http::{
        assets::focus,
        problem::{Problem, ProblemKind},
    },
};

/// An id, a component without its value, and the size that its slot asks for.
type Filled = (Option<String>, Map<String, serde_json::Value>, Option<Fit>);

/// The parts of a form.
pub(super) struct Form {
    pub(super) fields: BTreeMap<String, String>,
    pub(super) image: Bytes,
}

impl Form {
    /// The longest text of a part, in bytes.
    const TEXT: usize = 64 << 10;
    const FIELDS: [&str; 10] =
        ["slot", "alt", "focus", "id", "name", "locale", "weight", "status", "targeting", "flight"];

    pub(super) async fn read(request: Request) -> Result<Self, Problem> {
        let broken = |error: axum::extract::multipart::MultipartError| {
            let kind =
                if error.status().as_u16() == 413 { ProblemKind::PayloadTooLarge } else { ProblemKind::BadRequest };
            Problem::new(kind, "The form broke off, is too large or is no form.").caused_by(error)
        };
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

    /// The component without its value, its id, and the size that its slot asks for.
    pub(super) fn document(&self, slots: &BTreeMap<SlotName, SlotSpec>) -> Result<Filled, Problem> {
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
        let spec = self.fields.get("slot").and_then(|slot| slots.get(&slot.parse::<SlotName>().ok()?));
        let size = spec.and_then(|spec| spec.width.zip(spec.height));
        let fit = size.zip(middle).map(|((width, height), focus)| Fit { width, height, focus });
        Ok((self.fields.get("id").filter(|id| !id.is_empty()).cloned(), document, fit))
    }
}
