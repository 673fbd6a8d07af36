//! Reading pictures out of documents: one file, or one for each size that templates show.

use serde_json::{Map, Value};

use super::{
    documents::SlotType,
    value::{Image, Reader, SlotSpec},
};

/// The most files of one picture beside the first: a creative has that many templates.
const MOST_RENDITIONS: usize = 16;

/// A file of a picture.
struct File {
    /// None where it has a fault of its own.
    src: Option<Box<str>>,
    sides: [Option<u32>; 2],
}

impl File {
    /// Whether it has the wanted sides, or may have those that nobody told.
    fn fits(&self, wanted: [Option<u32>; 2], untold: bool) -> bool {
        let fits = |(side, wanted): (&Option<u32>, Option<u32>)| match (side, wanted) {
            (_, None) => true,
            (None, Some(_)) => untold,
            (Some(side), Some(wanted)) => *side == wanted,
        };
        self.sides.iter().zip(wanted).all(fits)
    }
}

impl Reader {
    /// The picture as a slot shows it: of its files the first that has the slot's size.
    pub(super) fn image(&mut self, at: &str, value: &Value, spec: &SlotSpec) -> Option<Image> {
        let known: &[_] = match spec.kind {
            SlotType::Image => &["src", "alt", "width", "height", "renditions"],
            _ => &["src", "alt", "width", "height"],
        };
        let fields = self.object(at, value, known)?;
        let src = self.src(&format!("{at}/src"), fields.get("src").unwrap_or(&Value::Null));
        let alt = self.text(&format!("{at}/alt"), fields.get("alt").unwrap_or(&Value::Null), 500);
        let sides = self.sides(at, fields);
        let others = fields.get("renditions").filter(|_| spec.kind == SlotType::Image);
        let others = others.map_or(Some(Vec::new()), |files| self.renditions(&format!("{at}/renditions"), files))?;
        let (alone, wanted) = (others.is_empty(), [spec.width, spec.height]);
        let mut files: Vec<_> = [File { src, sides }].into_iter().chain(others).collect();
        let first = |untold| files.iter().position(|file| file.fits(wanted, untold));
        let Some(found) = first(false).or_else(|| first(true)) else {
            return self.misfit(at, &files, wanted, alone);
        };
        let File { src, sides: [width, height] } = files.swap_remove(found);
        Some(Image { src: src?, alt: alt?, width, height })
    }

    fn sides(&mut self, at: &str, fields: &Map<String, Value>) -> [Option<u32>; 2] {
        ["width", "height"].map(|name| {
            let side = fields.get(name)?;
            let told = side.as_u64().and_then(|side| u32::try_from(side).ok());
            told.filter(|side| (1..=10_000).contains(side))
                .or_else(|| self.fault(&format!("{at}/{name}"), "out_of_range", "must be 1 to 10000 pixels"))
        })
    }

    fn renditions(&mut self, at: &str, value: &Value) -> Option<Vec<File>> {
        let Value::Array(files) = value else { return self.fault(at, "not_an_array", "must be a list of files") };
        if !(1..=MOST_RENDITIONS).contains(&files.len()) {
            return self.fault(at, "out_of_range", format!("must hold 1 to {MOST_RENDITIONS} files"));
        }
        // read all before giving up, so that the faults of all are noted
        let read: Vec<_> = files
            .iter()
            .enumerate()
            .map(|(nth, file)| {
                let at = format!("{at}/{nth}");
                let fields = self.object(&at, file, &["src", "width", "height"])?;
                let src = self.src(&format!("{at}/src"), fields.get("src").unwrap_or(&Value::Null));
                for side in ["width", "height"].into_iter().filter(|side| !fields.contains_key(*side)) {
                    self.fault::<()>(&format!("{at}/{side}"), "required", "must be told: it chooses the file");
                }
                Some(File { src, sides: self.sides(&at, fields) })
            })
            .collect();
        read.into_iter().collect()
    }

    /// Says that no file has the wanted size.
    fn misfit(&mut self, at: &str, files: &[File], wanted: [Option<u32>; 2], alone: bool) -> Option<Image> {
        if alone {
            for (name, (side, wanted)) in ["width", "height"].into_iter().zip(files[0].sides.into_iter().zip(wanted)) {
                if let (Some(side), Some(wanted)) = (side, wanted)
                    && side != wanted
                {
                    let detail = format!("must be {wanted} pixels, not {side}");
                    self.fault::<()>(&format!("{at}/{name}"), "image_size", detail);
                }
            }
            return None;
        }
        let text = |sides: [Option<u32>; 2]| {
            let [width, height] = sides.map(|side| side.map_or("any".to_owned(), |side| side.to_string()));
            format!("{width}x{height}")
        };
        let there: Vec<_> = files.iter().map(|file| text(file.sides)).collect();
        let detail = format!("one of them must be {}; they are {}", text(wanted), there.join(", "));
        self.fault(&format!("{at}/renditions"), "image_size", detail)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::domain::creative::{SlotSpec, SlotValue};

    use super::*;

    fn shown(size: Option<(u32, u32)>, value: &Value) -> Result<Value, Vec<(String, &'static str)>> {
        let mut doc = json!({"type": "image", "default": null});
        if let Some((width, height)) = size {
            (doc["width"], doc["height"]) = (width.into(), height.into());
        }
        let spec = SlotSpec::parse(&serde_json::from_value(doc).expect("a slot")).expect("limits");
        let parsed = SlotValue::parse(&spec, value);
        parsed
            .map(|value| value.content())
            .map_err(|faults| faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect())
    }

    #[test]
    fn each_slot_shows_the_file_of_its_size() {
        let value = json!({"src": "/v1/assets/a.png", "alt": "A shoe", "width": 300, "height": 250, "renditions": [
            {"src": "/v1/assets/b.png", "width": 728, "height": 90}, {"src": "/v1/assets/c.png", "width": 160, "height": 600}]});
        let file =
            |src: &str, width: u32, height: u32| json!({"src": src, "alt": "A shoe", "width": width, "height": height});
        assert_eq!(shown(Some((300, 250)), &value), Ok(file("/v1/assets/a.png", 300, 250)));
        assert_eq!(shown(Some((160, 600)), &value), Ok(file("/v1/assets/c.png", 160, 600)));
        assert_eq!(shown(None, &value), Ok(file("/v1/assets/a.png", 300, 250)));
        assert_eq!(shown(Some((1, 1)), &value), Err(vec![("/renditions".into(), "image_size")]));
        // of a file that nobody measured nobody knows that it does not fit; one that fits goes before it
        let untold = json!({"src": "https://cdn.example/a.png", "alt": "A shoe",
            "renditions": [{"src": "/v1/assets/b.png", "width": 728, "height": 90}]});
        assert_eq!(shown(Some((728, 90)), &untold).expect("fits")["src"], "/v1/assets/b.png");
        assert_eq!(shown(Some((9, 9)), &untold).expect("may fit")["src"], "https://cdn.example/a.png");
    }

    #[test]
    fn faults_of_files_are_told_where_they_are() {
        let value = |renditions: Value| json!({"src": "/v1/assets/a.png", "alt": "x", "renditions": renditions});
        let at = |pointer: &str, code| Err(vec![(pointer.to_owned(), code)]);
        assert_eq!(shown(None, &value(json!([]))), at("/renditions", "out_of_range"));
        assert_eq!(shown(None, &value(json!({}))), at("/renditions", "not_an_array"));
        let files = json!([{"src": "javascript:x", "width": 0}, {"src": "/v1/assets/b.png", "width": 1, "height": 1, "alt": "y"}]);
        assert_eq!(
            shown(None, &value(files)),
            Err([
                ("/renditions/0/src", "not_a_url"),
                ("/renditions/0/height", "required"),
                ("/renditions/0/width", "out_of_range"),
                ("/renditions/1/alt", "unknown_field")
            ]
            .map(|(pointer, code)| (pointer.to_owned(), code))
            .to_vec())
        );
    }
}
