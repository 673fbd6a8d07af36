//! What stands in a slot, as answers repeat it.

use serde_json::Value;

use crate::domain::ids::NameHash;

/// The JSON of a slot's value, written once: a catalogue holds millions of these, and every answer
/// repeats some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    json: Box<str>,
    images: Box<[Picture]>,
}

/// An image on the web.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Where it is.
    pub src: Box<str>,
    /// Its area in pixels; 0 where it does not say how large it is.
    pub area: u64,
}

impl Content {
    /// The value, written.
    #[must_use]
    pub fn new(value: &Value) -> Self {
        let mut images = Vec::new();
        note(value, &mut images);
        Self { json: value.to_string().into(), images: images.into() }
    }

    /// The images of the value, which may be several products.
    #[must_use]
    pub fn images(&self) -> &[Picture] {
        &self.images
    }

    /// The JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// Tells this value from others: a hash of its JSON.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        NameHash::of(&self.json).0
    }
}

fn note(value: &Value, images: &mut Vec<Picture>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| note(item, images)),
        Value::Object(members) => match (members.get("src").map(Value::as_str), members.get("image")) {
            (Some(src), _) => {
                let side = |name: &str| members.get(name).and_then(Value::as_u64).unwrap_or_default();
                let area = side("width").saturating_mul(side("height"));
                images.extend(src.filter(|src| src.starts_with("http")).map(|src| Picture { src: src.into(), area }));
            }
            (None, image) => image.into_iter().for_each(|image| note(image, images)),
        },
        _ => {}
    }
}
