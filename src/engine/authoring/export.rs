//! A whole account as a bundle: what importing it elsewhere makes the same again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value;

use super::{Authoring, AuthoringError, Workspace, bundle::BundleError, reader::FOLDERS, serving::Serving};
use crate::{
    domain::{
        catalog::{document::PublicationDoc, gate::Surroundings, key::Kind},
        creative::{ASSETS, is_asset_name, with_paths},
    },
    engine::assets::Assets,
};

/// Where assets stand in a bundle.
const BUNDLED: &str = "assets/";

impl Authoring {
    /// Every document of an account as the files of a bundle, by their paths; and the names of the
    /// images that they use. The same documents make the same bytes.
    ///
    /// # Errors
    /// Others keep changing them; the store's.
    pub async fn export(&self, account: u32) -> Result<(BTreeMap<String, Vec<u8>>, BTreeSet<String>), AuthoringError> {
        for _ in 0..Self::TRIES {
            let Some(mut work) = self.everything(account).await? else { continue };
            // rules that cannot be read are no reason to keep what there is
            let _faults = work.compile_rules();
            let beside = work.surroundings();
            let (mut files, mut images) = (BTreeMap::new(), BTreeSet::new());
            let documents = work.documents.iter().filter_map(|(key, found)| Some((key, &found.as_ref()?.1)));
            for (key, body) in documents {
                let path = match key.kind {
                    // importing makes them anew, and each revision is audited anew
                    Kind::Revision | Kind::Publication | Kind::Audit => continue,
                    Kind::Creative => format!("creatives/{}/creative", key.id),
                    Kind::Component => match key.id.split_once('/') {
                        Some((creative, id)) => format!("creatives/{creative}/components/{id}"),
                        None => continue,
                    },
                    kind => match FOLDERS.iter().find(|(_, own)| *own == kind) {
                        Some((folder, _)) => format!("{folder}/{}", key.id),
                        None => continue,
                    },
                };
                let mut body = body.clone();
                if matches!(key.kind, Kind::Template | Kind::Component) {
                    bundled(&mut body, &mut images);
                }
                if key.kind == Kind::Template
                    && let Some(Value::String(markup)) =
                        body.as_object_mut().and_then(|members| members.remove("markup"))
                {
                    files.insert(format!("{path}.html"), markup.into_bytes());
                }
                files.insert(format!("{path}.json"), written(&body));
                if key.kind == Kind::Creative
                    && let Some(mut serving) = self.serving(&work, &beside, &key.id)
                {
                    bundled(&mut serving, &mut images);
                    files.insert(format!("creatives/{}/serving.json", key.id), written(&serving));
                }
            }
            return Ok((files, images));
        }
        Err(AuthoringError::Contended)
    }

    /// Writes an account into a folder, which must be empty or not there; how many files.
    ///
    /// # Errors
    /// The folder cannot be written or holds something; the store's.
    pub async fn export_to(&self, assets: &Assets, account: u32, folder: &Path) -> Result<usize, BundleError> {
        let (mut files, images) = self.export(account).await?;
        for name in images {
            let image = assets.get(&name).await.map_err(AuthoringError::from)?;
            // an address that nothing stands behind is exported as it is
            if let Some(image) = image {
                files.insert(format!("{BUNDLED}{name}"), image.bytes.to_vec());
            }
        }
        let fault = |file: &Path| {
            let file = file.to_owned();
            move |error| BundleError::File { file, error }
        };
        std::fs::create_dir_all(folder).map_err(fault(folder))?;
        if std::fs::read_dir(folder).map_err(fault(folder))?.next().is_some() {
            let error = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "the folder is not empty");
            return Err(BundleError::File { file: folder.to_owned(), error });
        }
        for (path, bytes) in &files {
            let file = folder.join(path);
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent).map_err(fault(parent))?;
            }
            std::fs::write(&file, bytes).map_err(fault(&file))?;
        }
        Ok(files.len())
    }

    /// What has to be said of what serves of a creative, beside its draft.
    fn serving(&self, work: &Workspace, beside: &Surroundings, id: &str) -> Option<Value> {
        let publication: Option<PublicationDoc> = work.typed(Kind::Publication, id);
        let revision = publication.as_ref().map(|publication| format!("{id}/{}", publication.revision));
        let revision = revision.and_then(|revision| work.typed(Kind::Revision, &revision));
        // what has been published may serve on where the gate would not let the same draft pass again
        let now = self.clock.now();
        let draft = work.revision(id, 0, now, self.catalogue.public_url()).ok();
        let draft = draft.filter(|(doc, compiled)| beside.refusals(compiled, doc, now).is_empty());
        serde_json::to_value(Serving::of(publication.as_ref(), revision, draft.map(|(doc, _)| doc).as_ref())?).ok()
    }
}

fn written(body: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(body).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Puts the path in the bundle in the place of the served path of every image, in values and markup.
fn bundled(value: &mut Value, images: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(markup) if name == "markup" => {
                        let moved = with_paths(markup, ASSETS, |image| {
                            is_asset_name(image).then(|| {
                                images.insert(image.to_owned());
                                format!("{BUNDLED}{image}")
                            })
                        });
                        *markup = moved.into_owned();
                    }
                    Value::String(src) if name == "src" && src.starts_with(ASSETS) => {
                        let image = src[ASSETS.len()..].to_owned();
                        *src = format!("{BUNDLED}{image}");
                        images.insert(image);
                    }
                    inner => bundled(inner, images),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| bundled(item, images)),
        _ => {}
    }
}
