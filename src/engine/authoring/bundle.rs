//! A whole campaign at once: documents, images and people of a folder, checked together and
//! committed together.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Author, Authoring, AuthoringError, Workspace, document, number,
    personas::{BundledEvent, BundledPerson},
};
use crate::{
    domain::{
        catalog::{
            document::{PublicationDoc, PublicationStatus, RevisionDoc},
            key::{DocumentKey, Kind},
        },
        ids::CreativeId,
        violation::{Violation, token},
    },
    engine::assets::{AssetError, Assets},
    ports::DocumentWrite,
    schema::ReadError,
};

/// A folder, read.
#[derive(Debug, Default)]
pub struct Bundle {
    /// Every document in its canonical form.
    pub documents: BTreeMap<DocumentKey, Value>,
    /// Every image, with the name it will be served under.
    pub assets: Vec<(String, &'static str, Bytes)>,
    /// Every person.
    pub people: Vec<BundledPerson>,
    /// What they did.
    pub events: Vec<BundledEvent>,
}

impl Bundle {
    fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.assets.is_empty() && self.people.is_empty() && self.events.is_empty()
    }
}

/// Why a bundle was not imported.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file cannot be read.
    #[error("{}: {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is nothing to import in the folder.
    #[error("the folder holds no document, no image and nobody")]
    Empty,
    /// Files with faults: nothing was imported.
    #[error("{} faults; nothing was imported", .0.len())]
    Faults(Vec<FileFault>),
    /// The commit failed.
    #[error(transparent)]
    Authoring(#[from] AuthoringError),
}

/// A fault in a file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// The file, or the document where it spans several.
    pub file: String,
    /// What is wrong, and where in the document.
    pub fault: Violation,
}

/// What importing changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Documents written; those that were the same already are left as they are.
    pub documents: usize,
    /// Creatives published anew.
    pub published: usize,
    /// Images kept.
    pub assets: usize,
    /// People written.
    pub people: usize,
    /// Events kept for the first time.
    pub events: usize,
}

/// Folders of a bundle and what they hold.
const FOLDERS: [(&str, Kind); 7] = [
    ("advertisers", Kind::Advertiser),
    ("models", Kind::Model),
    ("segments", Kind::Segment),
    ("templates", Kind::Template),
    ("placements", Kind::Placement),
    ("campaigns", Kind::Campaign),
    ("write-keys", Kind::WriteKey),
];

impl Authoring {
    /// Reads a folder: one JSON file per document, named by its id; a template's markup may stand
    /// beside it as `.html`; components stand in their creative's folder.
    ///
    /// # Errors
    /// Every fault of every file; there is no such folder, or nothing in it.
    pub fn read_bundle(&self, folder: &Path) -> Result<Bundle, BundleError> {
        std::fs::read_dir(folder).map_err(|error| BundleError::File { file: folder.to_owned(), error })?;
        let mut reader =
            Reader { authoring: self, folder, bundle: Bundle::default(), names: BTreeMap::new(), faults: Vec::new() };
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
            for file in files(&creative.join("components"), "json")? {
                reader.document(&file, DocumentKey::new(Kind::Component, format!("{id}/{}", stem(&file))))?;
            }
        }
        reader.people()?;
        if reader.faults.is_empty() && reader.bundle.is_empty() {
            return Err(BundleError::Empty);
        }
        if reader.faults.is_empty() { Ok(reader.bundle) } else { Err(BundleError::Faults(reader.faults)) }
    }

    /// Writes a bundle's documents in one commit and publishes its creatives. Documents that are
    /// there already are replaced; what is not in the bundle is left alone.
    ///
    /// # Errors
    /// Every fault of every document; the store's.
    pub async fn import_documents(&self, author: &Author, bundle: &Bundle) -> Result<Imported, BundleError> {
        let _turn = self.turns.wait(author.account).await;
        for _ in 0..Self::TRIES {
            let Some(mut work) = self.everything(author.account).await? else { continue };
            let (writes, imported) = self.plan(&mut work, bundle)?;
            if writes.is_empty() || self.commit(author, work.version, writes).await?.is_some() {
                return Ok(imported);
            }
        }
        Err(AuthoringError::Contended.into())
    }

    /// Every document of an account, at one version.
    async fn everything(&self, account: u32) -> Result<Option<Workspace>, AuthoringError> {
        let mut work = Workspace::default();
        let mut whole = true;
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            let all = self.list(account, kind, String::new(), None, Self::MANY).await?;
            if at == 0 {
                work.version = all.version;
            }
            whole &= all.version == work.version;
            for row in all.rows {
                work.documents.insert(row.key, Some((row.version, row.body)));
            }
        }
        Ok(whole.then_some(work))
    }

    /// What has to be written so that the account has what the bundle says.
    fn plan(&self, work: &mut Workspace, bundle: &Bundle) -> Result<(Vec<DocumentWrite>, Imported), BundleError> {
        let mut changed = Vec::new();
        for (key, body) in &bundle.documents {
            if !matches!(work.documents.get(key), Some(Some((_, known))) if known == body) {
                work.put(key.clone(), body.clone());
                changed.push(key.clone());
            }
        }
        let mut faults = Vec::new();
        if let Err(found) = work.compile_rules() {
            faults.extend(found.into_iter().map(|(key, fault)| FileFault { file: key.to_string(), fault }));
        }
        for (key, body) in &bundle.documents {
            if let Err(found) = work.check(key, body) {
                faults.extend(found.into_iter().map(|fault| FileFault { file: key.to_string(), fault }));
            }
        }
        let mut imported = Imported { documents: changed.len(), assets: bundle.assets.len(), ..Imported::default() };
        let models = work.rules.models();
        let write = |key: &DocumentKey, body: &Value| DocumentWrite {
            refs: document::references(key, body, models),
            key: key.clone(),
            body: Some(body.clone()),
        };
        let mut writes: Vec<_> =
            changed.iter().filter_map(|key| Some(write(key, bundle.documents.get(key)?))).collect();
        for key in bundle.documents.keys().filter(|key| key.kind == Kind::Creative) {
            match self.publication(work, &key.id) {
                Ok(Some(publication)) => {
                    imported.published += 1;
                    writes.extend(publication);
                }
                Ok(None) => {}
                Err(found) => faults.extend(found.into_iter().map(|fault| FileFault { file: key.to_string(), fault })),
            }
        }
        if faults.is_empty() { Ok((writes, imported)) } else { Err(BundleError::Faults(faults)) }
    }

    /// What publishing a draft would write; nothing when the same is published already.
    fn publication(&self, work: &Workspace, id: &str) -> Result<Option<Vec<DocumentWrite>>, Vec<Violation>> {
        let prefix = format!("{id}/");
        let newest = work.of(Kind::Revision, &prefix).filter_map(|(key, _)| number(&key.id)).max().unwrap_or_default();
        let (doc, _) = work.revision(id, newest + 1, self.clock.now(), self.catalogue.public_url())?;
        let current: Option<PublicationDoc> = work.typed(Kind::Publication, id);
        let same = current.filter(|current| current.status == PublicationStatus::Published).and_then(|current| {
            let serving: RevisionDoc = work.typed(Kind::Revision, &format!("{id}/{}", current.revision))?;
            let as_now = RevisionDoc { revision: serving.revision, published_at: serving.published_at, ..doc.clone() };
            Some(as_now == serving)
        });
        if same == Some(true) {
            return Ok(None);
        }
        let creative: CreativeId =
            id.parse().map_err(|error| vec![Violation::new("", "invalid_id", format!("{error}"))])?;
        let publication = PublicationDoc { revision: doc.revision, status: PublicationStatus::Published };
        Ok(Some(vec![
            DocumentWrite {
                key: DocumentKey::new(Kind::Revision, format!("{id}/{}", doc.revision)),
                body: Some(json!(doc)),
                refs: vec![],
            },
            DocumentWrite {
                key: DocumentKey::new(Kind::Publication, id),
                body: Some(json!(publication)),
                refs: document::revision_references(&creative, &doc, work.rules.models()),
            },
        ]))
    }
}

/// Reads the files of a folder, noting every fault.
struct Reader<'a> {
    authoring: &'a Authoring,
    folder: &'a Path,
    bundle: Bundle,
    /// Where the images of the bundle will be served, by their paths in it.
    names: BTreeMap<String, String>,
    faults: Vec<FileFault>,
}

impl Reader<'_> {
    fn assets(&mut self) -> Result<(), BundleError> {
        for ending in ["png", "jpg", "webp", "gif"] {
            for file in files(&self.folder.join("assets"), ending)? {
                let bytes = read(&file)?;
                match Assets::name(&bytes) {
                    Ok((name, media_type)) => {
                        let path = format!("assets/{}", file.file_name().unwrap_or_default().to_string_lossy());
                        self.names.insert(path, format!("/v1/assets/{name}"));
                        self.bundle.assets.push((name, media_type, bytes.into()));
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
        match document::canonical(key.kind, &self.authoring.schemas, bytes) {
            Ok(body) => drop(self.bundle.documents.insert(key, body)),
            Err(ReadError::Invalid(faults)) => faults.into_iter().for_each(|fault| self.fault(file, fault)),
            Err(error) => self.fault(file, Violation::new("", "malformed", error.to_string())),
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
        self.bundle.people = self.lines("profiles.ndjson", |_| None)?;
        self.bundle.events = self.lines("events.ndjson", BundledEvent::fault)?;
        Ok(())
    }

    /// A document on each line of a file, if there is one.
    fn lines<T: DeserializeOwned>(
        &mut self,
        name: &str,
        fault: impl Fn(&T) -> Option<Violation>,
    ) -> Result<Vec<T>, BundleError> {
        let file = self.folder.join(name);
        let bytes = if file.exists() { read(&file)? } else { Vec::new() };
        let mut documents = Vec::new();
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        for (at, line) in lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace)) {
            let document = serde_json::from_slice(line);
            let document = document.map_err(|error| Violation::new("", "invalid", error.to_string()));
            match document.and_then(|document| fault(&document).map_or(Ok(document), Err)) {
                Ok(document) => documents.push(document),
                Err(fault) => self.fault(&file, Violation { pointer: format!("/{at}{}", fault.pointer), ..fault }),
            }
        }
        Ok(documents)
    }

    fn fault(&mut self, file: &Path, fault: Violation) {
        let file = file.strip_prefix(self.folder).unwrap_or(file).display().to_string();
        self.faults.push(FileFault { file, fault });
    }
}

fn asset_fault(error: &AssetError) -> Violation {
    let code = match error {
        AssetError::Format => "unsupported_image",
        AssetError::Size => "too_large",
    };
    Violation::new("", code, error.to_string())
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
