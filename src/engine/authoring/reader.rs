//! The folder of a bundle, read file by file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Authoring,
    bundle::{Bundle, BundleError, FileFault},
    cast, document,
    personas::BundledEvent,
    sound::Sound,
};
use crate::{
    domain::{
        catalog::key::{DocumentKey, Kind},
        creative::with_paths,
        violation::{Violation, token},
    },
    engine::images::{ImageError, Picture},
    schema::{ReadError, Schemas},
};

/// Folders of a bundle and what they hold.
pub(super) const FOLDERS: [(&str, Kind); 8] = [
    ("advertisers", Kind::Advertiser),
    ("models", Kind::Model),
    ("segments", Kind::Segment),
    ("feeds", Kind::Feed),
    ("templates", Kind::Template),
    ("placements", Kind::Placement),
    ("campaigns", Kind::Campaign),
    ("write-keys", Kind::WriteKey),
];

impl Authoring {
    /// Reads a folder: one JSON file per document, named by its id; a template's markup may stand
    /// beside it as `.html`; components stand in their creative's folder.
    ///
    /// Faults of files are told with those of all documents, by [`Self::import_documents`].
    ///
    /// # Errors
    /// There is no such folder, nothing in it, or it cannot be read.
    pub fn read_bundle(&self, folder: &Path) -> Result<Bundle, BundleError> {
        read_bundle(folder, &self.schemas)
    }
}

/// Reads a folder, noting every fault.
fn read_bundle(folder: &Path, schemas: &Schemas) -> Result<Bundle, BundleError> {
    std::fs::read_dir(folder).map_err(|error| BundleError::File { file: folder.to_owned(), error })?;
    let mut reader = Reader { schemas, folder, bundle: Bundle::default(), names: BTreeMap::new() };
    reader.assets()?;
    for (name, kind) in FOLDERS {
        for file in files(&folder.join(name), "json")? {
            let id = stem(&file);
            reader.document(&file, DocumentKey::new(kind, id))?;
        }
    }
    for creative in folders(&folder.join("creatives"))? {
        let id = stem(&creative);
        reader.document(&creative.join("creative.json"), DocumentKey::new(Kind::Creative, &id))?;
        let serving = creative.join("serving.json");
        if serving.exists() {
            reader.serving(&serving, id.clone())?;
        }
        for file in files(&creative.join("components"), "json")? {
            reader.document(&file, DocumentKey::new(Kind::Component, format!("{id}/{}", stem(&file))))?;
        }
    }
    reader.people()?;
    if reader.bundle.is_empty() { Err(BundleError::Empty) } else { Ok(reader.bundle) }
}

/// Reads the files of a folder, noting every fault.
struct Reader<'a> {
    schemas: &'a Schemas,
    folder: &'a Path,
    bundle: Bundle,
    /// Where the images of the bundle will be served, by their paths in it.
    names: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn assets(&mut self) -> Result<(), BundleError> {
        for ending in ["png", "jpg", "webp", "gif"] {
            for file in files(&self.folder.join("assets"), ending)? {
                let bytes = read(&file)?;
                match Picture::as_is(&bytes) {
                    Ok(picture) => {
                        let path = format!("assets/{}", file.file_name().unwrap_or_default().to_string_lossy());
                        self.names.insert(path, format!("/v1/assets/{}", picture.name));
                        self.bundle.assets.push(picture);
                    }
                    Err(error) => self.fault(&file, asset_fault(&error)),
                }
            }
        }
        Ok(())
    }

    fn document(&mut self, file: &Path, key: DocumentKey) -> Result<(), BundleError> {
        let bytes = read(file)?;
        let Ok(mut body) = serde_json::from_slice::<Value>(&bytes) else {
            // says where it stops being JSON
            return self.canonical(file, key, &bytes);
        };
        if key.kind == Kind::Template && body.get("markup").is_none() {
            let markup = file.with_extension("html");
            if markup.exists() {
                let markup = String::from_utf8_lossy(&read(&markup)?).into_owned();
                body["markup"] = markup.into();
            }
        }
        self.serve_assets(file, &mut body, &mut String::new());
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        self.canonical(file, key, &bytes)
    }

    fn canonical(&mut self, file: &Path, key: DocumentKey, bytes: &[u8]) -> Result<(), BundleError> {
        if let Err(error) = document::check_id(key.kind, &key.id) {
            self.fault(file, Violation::new("", "invalid_id", format!("the file's name is no id: {error}")));
            return Ok(());
        }
        let schemas = self.schemas;
        let (faults, sound) = match document::canonical(key.kind, schemas, bytes) {
            Ok(body) => {
                self.bundle.documents.insert(key, body);
                return Ok(());
            }
            Err(ReadError::Invalid(faults)) => {
                let sound = Sound::of(key.kind, schemas, bytes, &faults);
                (faults, sound)
            }
            Err(error) => {
                let faults = vec![Violation::new("", "malformed", error.to_string())];
                let sound = Sound::of(key.kind, schemas, b"{}", &faults);
                (faults, sound)
            }
        };
        match sound {
            Some(sound) => drop(self.bundle.broken.insert(key, (self.name(file), sound))),
            None => faults.into_iter().for_each(|fault| self.fault(file, fault)),
        }
        Ok(())
    }

    fn serving(&mut self, file: &Path, creative: String) -> Result<(), BundleError> {
        let mut body = serde_json::from_slice(&read(file)?);
        if let Ok(body) = &mut body {
            self.serve_assets(file, body, &mut String::new());
        }
        match body.and_then(serde_json::from_value) {
            Ok(serving) => drop(self.bundle.serving.insert(creative, serving)),
            Err(error) => self.fault(file, Violation::new("", "invalid", error.to_string())),
        }
        Ok(())
    }

    /// Puts the served path of every image of the bundle in the place of its path in it.
    fn serve_assets(&mut self, file: &Path, value: &mut Value, pointer: &mut String) {
        let length = pointer.len();
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    pointer.push('/');
                    pointer.push_str(&token(name));
                    match field {
                        Value::String(markup) if name == "markup" => {
                            let served = |image: &str| self.names.get(&format!("assets/{image}")).cloned();
                            *markup = with_paths(markup, "assets/", served).into_owned();
                        }
                        Value::String(src) if name == "src" && src.starts_with("assets/") => {
                            match self.names.get(src) {
                                Some(served) => src.clone_from(served),
                                None => {
                                    let detail = format!("the bundle has no image {src}");
                                    self.fault(file, Violation::new(pointer.clone(), "unknown_asset", detail));
                                }
                            }
                        }
                        inner => self.serve_assets(file, inner, pointer),
                    }
                    pointer.truncate(length);
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    pointer.push_str(&format!("/{at}"));
                    self.serve_assets(file, item, pointer);
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn people(&mut self) -> Result<(), BundleError> {
        self.bundle.people = self.lines(cast::PEOPLE, |_| None)?;
        self.bundle.events = self.lines(cast::EVENTS, BundledEvent::fault)?;
        Ok(())
    }

    /// A document on each line of a file, if there is one, with the number of its line.
    fn lines<T: DeserializeOwned>(
        &mut self,
        name: &str,
        fault: impl Fn(&T) -> Option<Violation>,
    ) -> Result<Vec<(usize, T)>, BundleError> {
        let file = self.folder.join(name);
        let bytes = if file.exists() { read(&file)? } else { Vec::new() };
        let mut documents = Vec::new();
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        for (at, line) in lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace)) {
            let document = serde_json::from_slice(line);
            let document = document.map_err(|error| Violation::new("", "invalid", error.to_string()));
            match document.and_then(|document| fault(&document).map_or(Ok(document), Err)) {
                Ok(document) => documents.push((at, document)),
                Err(fault) => self.fault(&file, Violation { pointer: format!("/{at}{}", fault.pointer), ..fault }),
            }
        }
        Ok(documents)
    }

    fn fault(&mut self, file: &Path, fault: Violation) {
        let file = self.name(file);
        self.bundle.faults.push(FileFault { file, fault });
    }

    fn name(&self, file: &Path) -> String {
        file.strip_prefix(self.folder).unwrap_or(file).display().to_string()
    }
}

fn asset_fault(error: &ImageError) -> Violation {
    Violation::new("", error.code(), error.to_string())
}

fn read(file: &Path) -> Result<Vec<u8>, BundleError> {
    std::fs::read(file).map_err(|error| BundleError::File { file: file.to_owned(), error })
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// What stands in a folder, in order; nothing when there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, BundleError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let fault = |error| BundleError::File { file: folder.to_owned(), error };
    let entries = std::fs::read_dir(folder).map_err(fault)?;
    let mut entries =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(fault)?;
    entries.sort();
    Ok(entries)
}

fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, BundleError> {
    let mut files = entries(folder)?;
    files.retain(|path| path.is_file() && path.extension().is_some_and(|own| own == ending));
    Ok(files)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let mut folders = entries(folder)?;
    folders.retain(|path| path.is_dir());
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{
        audience::compile::RuleSet,
        catalog::{compile::Source, creative::Creative, templates::Templates},
        creative::{Dynamic, Template, TemplateDoc, assemble_html, assemble_native, every_image_has_words},
        ids::TemplateId,
        values::Format,
    };

    #[test]
    fn a_malformed_file_hides_nothing_of_the_others() {
        let openapi = serde_json::from_str(include_str!("../../../openapi/openapi.json")).expect("JSON");
        let schemas = Schemas::new(&openapi, &[]).expect("schemas");
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, text).expect("written");
        };
        write("advertisers/brand.json", "{\"name\": ");
        write("advertisers/other.json", "{\"name\": \"Other\", \"domain\": \"other.example\"}");
        write(
            "campaigns/spring.json",
            "{\"name\": 1, \"advertiser\": \"brand\", \"color\": 1, \"creatives\": [\"a\"]}",
        );
        write("events.ndjson", "rubbish");
        let bundle = read_bundle(folder.path(), &schemas).expect("a bundle");
        assert_eq!(bundle.documents.len(), 1);
        let (file, _) = &bundle.broken[&DocumentKey::new(Kind::Advertiser, "brand")];
        assert_eq!(file, "advertisers/brand.json");
        let (_, campaign) = bundle.broken[&DocumentKey::new(Kind::Campaign, "spring")].clone();
        // what was found in the parts that could be read, and what comes of those that could not
        let found = ["/creatives/0", "/landing_url"].map(|pointer| Violation::new(pointer, "found", ""));
        let all = campaign.with(Kind::Campaign, found.to_vec());
        let mut pointers: Vec<_> = all.iter().map(|fault| (fault.pointer.as_str(), fault.code)).collect();
        pointers.sort_unstable();
        let form =
            [("/color", "unknown_field"), ("/landing_url", "required"), ("/name", "type"), ("/status", "required")];
        assert_eq!(pointers, [&form[..1], &[("/creatives/0", "found")], &form[1..]].concat());
        assert_eq!(bundle.faults.len(), 1, "{:?}", bundle.faults);
    }

    #[test]
    fn the_library_can_be_used_as_it_is() {
        let openapi = serde_json::from_str(include_str!("../../../openapi/openapi.json")).expect("JSON");
        let schemas = Schemas::new(&openapi, &[]).expect("schemas");
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/creatives/library"));
        let bundle = read_bundle(folder, &schemas).expect("a bundle");
        assert_eq!((bundle.faults.len(), bundle.broken.len(), bundle.documents.len()), (0, 0, 7));
        let mut templates = BTreeMap::new();
        for (key, body) in &bundle.documents {
            let doc: TemplateDoc = serde_json::from_value(body.clone()).expect("a template");
            let template = Template::parse(&doc).unwrap_or_else(|faults| panic!("{key}: {faults:?}"));
            assert!(template.counts_clicks(), "{key}");
            assert_eq!(every_image_has_words(&doc), Ok(()), "{key}");
            assert!(doc.markup.as_deref().is_none_or(|markup| markup.contains("prefers-reduced-motion")), "{key}");
            templates.insert(key.id.parse::<TemplateId>().expect("an id"), doc);
        }
        // with no picture chosen and with one for all, what serves shows files of the bundle in each slot's size
        let advertiser = serde_json::from_value(json!({"name": "A", "domain": "example.com"})).expect("an advertiser");
        let shared: Vec<_> = templates.keys().filter(|id| id.as_str() != "products-300x250").cloned().collect();
        let hero = |id: &TemplateId| templates[id].slots["hero"].default.clone();
        let files: Vec<_> = shared.iter().map(hero).collect();
        let [first, others @ ..] = &files[..] else { panic!("no templates") };
        let others: Vec<_> = others
            .iter()
            .map(|one| json!({"src": one["src"], "width": one["width"], "height": one["height"]}))
            .collect();
        let mut picture = first.clone();
        picture["renditions"] = json!(others);
        for components in [json!({}), json!({"hills": {"slot": "hero", "value": picture}})] {
            let doc = json!({"revision": 1, "published_at": "2026-01-01T00:00:00Z", "templates": templates, "components": components,
                "creative": {"name": "All", "advertiser": "a", "templates": shared}});
            let doc = serde_json::from_value(doc).expect("a revision");
            let creative = Creative::compile(Source {
                id: "all".parse().expect("an id"),
                doc: &doc,
                advertiser: Some(&advertiser),
                rules: &RuleSet::default(),
                public_url: "https://t.example",
                known: &mut Templates::default(),
            });
            let creative = creative.unwrap_or_else(|faults| panic!("{faults:?}"));
            for variant in creative.variants.iter() {
                let choice = vec![(!doc.components.is_empty()).then_some(0); creative.slots.len()];
                let choice: Vec<_> = choice
                    .into_iter()
                    .zip(creative.slots.iter())
                    .map(|(at, slot)| at.filter(|_| slot.name.as_str() == "hero"))
                    .collect();
                let chosen: Vec<_> = variant
                    .places
                    .iter()
                    .map(|place| choice[place.slot].map_or(&place.default, |_| &place.prepared[0]))
                    .collect();
                let place = variant
                    .places
                    .iter()
                    .find(|place| creative.slots[place.slot].name.as_str() == "hero")
                    .expect("a place");
                let content: Value = serde_json::from_str(place.content(&creative, &choice).as_json()).expect("JSON");
                let own = hero(&variant.id);
                assert_eq!((&content["width"], &content["height"]), (&own["width"], &own["height"]), "{}", variant.id);
                let dynamic = Dynamic {
                    click_url: "https://t.example/c",
                    impression_url: "https://t.example/i",
                    view_url: "https://t.example/v",
                    landing_url: "https://example.com/",
                    decision_id: "d",
                    cachebuster: "1",
                };
                let mut shown = String::new();
                match variant.shape.0 {
                    Format::Native => assemble_native(&variant.template, &chosen, &dynamic, false, &mut shown),
                    _ => assemble_html(&variant.template, &chosen, &dynamic, &mut shown),
                }
                let src = own["src"].as_str().expect("a path");
                assert!(bundle.assets.iter().any(|kept| src.ends_with(&kept.name)), "{src}");
                assert!(shown.contains(&format!("https://t.example{src}")), "{}: {shown}", variant.id);
            }
        }
    }

    #[test]
    fn a_folder_that_is_not_there_or_holds_nothing_is_no_bundle() {
        let schemas = Schemas::new(&json!({"components": {"schemas": {}}}), &[]).expect("schemas");
        let folder = tempfile::tempdir().expect("a folder");
        let nothing = read_bundle(folder.path(), &schemas);
        assert!(matches!(nothing, Err(BundleError::Empty)), "{nothing:?}");
        let nowhere = read_bundle(&folder.path().join("nowhere"), &schemas);
        assert!(matches!(nowhere, Err(BundleError::File { .. })), "{nowhere:?}");
    }
}
