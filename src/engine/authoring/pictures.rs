//! What the images are like that documents name: whether they are there, and how large.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Authoring, AuthoringError};
use crate::{
    domain::{
        creative::{SlotSpec, SlotType, SlotValue, asset_name, assets_in_markup, named_assets},
        violation::{Violation, Violations},
    },
    engine::images::Picture,
};

/// An image that is there.
#[derive(Debug, Clone, Copy)]
struct Facts {
    width: u32,
    height: u32,
    bytes: usize,
}

/// The images that documents name, as far as they were looked up.
#[derive(Debug, Clone, Default)]
pub struct Pictures(BTreeMap<String, Option<Facts>>);

impl Pictures {
    /// Notes images that are about to be kept.
    pub(super) fn bring<'a>(&mut self, pictures: impl IntoIterator<Item = &'a Picture>) {
        for picture in pictures {
            let Picture { width, height, .. } = *picture;
            self.0.insert(picture.name.clone(), Some(Facts { width, height, bytes: picture.bytes.len() }));
        }
    }

    /// Fills in the size of every image of ours where its author left it out.
    pub(super) fn fill(&self, value: &mut Value) {
        if let Some(files) = value.get_mut("renditions").and_then(Value::as_array_mut) {
            files.iter_mut().for_each(|file| self.measure(file));
        }
        self.measure(value);
    }

    fn measure(&self, file: &mut Value) {
        let Some(Facts { width, height, .. }) = file.get("src").and_then(|src| self.of(src)).flatten() else { return };
        if let Some(fields) = file.as_object_mut() {
            for (name, side) in [("width", width), ("height", height)] {
                fields.entry(name).or_insert_with(|| side.into());
            }
        }
    }

    /// What is known of an image; none when nobody asked or it is not ours.
    fn of(&self, src: &Value) -> Option<Option<Facts>> {
        self.0.get(asset_name(src.as_str()?)?).copied()
    }

    /// Whether the images that a value of a slot names are there, and as its author says.
    ///
    /// # Errors
    /// Every image that is not.
    pub(super) fn check(&self, kind: SlotType, value: &Value) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        let products = value.as_array().filter(|_| kind == SlotType::Product).into_iter().flatten().enumerate();
        let products = products.filter_map(|(at, row)| Some((format!("/{at}/image"), row.get("image")?)));
        for (pointer, file) in files(kind, value).chain(products) {
            match file.get("src").and_then(|src| self.of(src)) {
                None => {}
                Some(None) => {
                    let detail = "there is no such image: upload it with POST /v1/assets";
                    faults.push(format!("{pointer}/src"), "unknown_asset", detail);
                }
                Some(Some(Facts { width, height, .. })) => {
                    for (name, side) in [("width", width), ("height", height)] {
                        if file.get(name).and_then(Value::as_u64).is_some_and(|told| told != u64::from(side)) {
                            let detail = format!("the image has {side} pixels: leave it out, or say that");
                            faults.push(format!("{pointer}/{name}"), "image_size", detail);
                        }
                    }
                }
            }
        }
        faults.into_result()
    }

    /// Whether the file that a slot would show of a value, its sizes filled in, is small enough.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn weigh(&self, spec: &SlotSpec, value: &Value) -> Result<(), Vec<Violation>> {
        let Some(most) = spec.max_bytes else { return Ok(()) };
        let Ok(SlotValue::Image(shown)) = SlotValue::parse(spec, value) else { return Ok(()) };
        let own = |(_, file): &(String, &Value)| file.get("src").and_then(Value::as_str) == Some(&*shown.src);
        let Some((pointer, file)) = files(SlotType::Image, value).find(own) else { return Ok(()) };
        match file.get("src").and_then(|src| self.of(src)).flatten() {
            Some(Facts { bytes, .. }) if bytes > most as usize => {
                let detail = format!("the slot takes files of at most {most} bytes; this one has {bytes}");
                Err(vec![Violation::new(format!("{pointer}/src"), "too_large", detail)])
            }
            _ => Ok(()),
        }
    }

    /// Whether the images that a document names anywhere are there.
    ///
    /// # Errors
    /// One that is not.
    pub(super) fn check_named(&self, body: &Value) -> Result<(), Violation> {
        let gone = named_assets(body).into_iter().find(|name| matches!(self.0.get(name), Some(None)));
        gone.map_or(Ok(()), |name| {
            let detail = format!("there is no image /v1/assets/{name}: upload it with POST /v1/assets");
            Err(Violation::new("/value", "unknown_asset", detail))
        })
    }

    /// Whether the images that stand in markup are there.
    ///
    /// # Errors
    /// Every one that is not.
    pub(super) fn check_markup(&self, markup: &str) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        for name in assets_in_markup(markup).into_iter().filter(|name| matches!(self.0.get(name), Some(None))) {
            let detail = format!("there is no image /v1/assets/{name}: upload it with POST /v1/assets");
            faults.push("", "unknown_asset", detail);
        }
        faults.into_result()
    }
}

/// The files of a picture, by their pointers.
fn files(kind: SlotType, value: &Value) -> impl Iterator<Item = (String, &Value)> {
    let renditions = value.get("renditions").and_then(Value::as_array).into_iter().flatten().enumerate();
    let renditions = renditions.map(|(at, file)| (format!("/renditions/{at}"), file));
    [(String::new(), value)].into_iter().chain(renditions).filter(move |_| kind == SlotType::Image)
}

impl Authoring {
    /// Looks up images of an account.
    pub(super) async fn look_up(
        &self,
        account: u32,
        pictures: &mut Pictures,
        mut names: BTreeSet<String>,
    ) -> Result<(), AuthoringError> {
        names.retain(|name| !pictures.0.contains_key(name));
        if names.is_empty() {
            return Ok(());
        }
        for facts in self.store.asset_facts(account, names.iter().cloned().collect()).await? {
            let sides = match facts.sides {
                Some(sides) => Some(sides),
                None => {
                    let row = self.store.asset(facts.name.clone()).await?;
                    row.and_then(|row| Picture::as_is(&row.bytes).ok()).map(|made| (made.width, made.height))
                }
            };
            let bytes = facts.bytes as usize;
            let known = sides.map(|(width, height)| Facts { width, height, bytes });
            names.remove(&facts.name);
            pictures.0.insert(facts.name, known);
        }
        pictures.0.extend(names.into_iter().map(|name| (name, None)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pictures() -> Pictures {
        let facts = |width, height, bytes| Some(Facts { width, height, bytes });
        let known = [("a.png", facts(300, 250, 900)), ("b.png", facts(728, 90, 90)), ("gone.png", None)];
        Pictures(known.map(|(name, facts)| (name.to_owned(), facts)).into())
    }

    fn slot(doc: Value) -> SlotSpec {
        SlotSpec::parse(&serde_json::from_value(doc).expect("a slot")).expect("limits")
    }

    fn told(result: Result<(), Vec<Violation>>) -> Vec<(String, &'static str)> {
        result.err().unwrap_or_default().into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    #[test]
    fn sizes_are_those_of_the_files() {
        let mut value = json!({"src": "/v1/assets/a.png", "alt": "x", "renditions": [{"src": "/v1/assets/b.png"}]});
        pictures().fill(&mut value);
        assert_eq!((&value["width"], &value["renditions"][0]["height"]), (&json!(300), &json!(90)));
        assert_eq!(told(pictures().check(SlotType::Image, &value)), []);
        value["renditions"][0]["width"] = json!(727);
        assert_eq!(told(pictures().check(SlotType::Image, &value)), [("/renditions/0/width".to_owned(), "image_size")]);
        let mut elsewhere = json!({"src": "https://cdn.example/v1/assets/a.png", "alt": "x"});
        let before = elsewhere.clone();
        pictures().fill(&mut elsewhere);
        assert_eq!(elsewhere, before);
    }

    #[test]
    fn what_is_not_there_or_too_heavy_is_told() {
        let gone = json!({"src": "/v1/assets/gone.png", "alt": "x"});
        assert_eq!(told(pictures().check(SlotType::Image, &gone)), [("/src".to_owned(), "unknown_asset")]);
        let row = json!([{"id": "a", "image": {"src": "/v1/assets/gone.png", "alt": "x"}}]);
        assert_eq!(told(pictures().check(SlotType::Product, &row)), [("/0/image/src".to_owned(), "unknown_asset")]);
        // nobody looked it up
        let other = json!({"src": "/v1/assets/other.png", "alt": "x"});
        assert_eq!(told(pictures().check(SlotType::Image, &other)), []);
        let mut value = json!({"src": "/v1/assets/b.png", "alt": "x", "renditions": [{"src": "/v1/assets/a.png"}]});
        pictures().fill(&mut value);
        let wide = slot(json!({"type": "image", "default": null, "width": 728, "height": 90, "max_bytes": 100}));
        let tall = slot(json!({"type": "image", "default": null, "width": 300, "height": 250, "max_bytes": 100}));
        assert_eq!(told(pictures().weigh(&wide, &value)), []);
        assert_eq!(told(pictures().weigh(&tall, &value)), [("/renditions/0/src".to_owned(), "too_large")]);
    }
}
