//! A whole campaign at once: documents, images and people of a folder, checked together and
//! committed together.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde_json::{Value, json};

use super::{
    Author, Authoring, AuthoringError, Workspace, document,
    personas::{BundledEvent, BundledPerson},
    serving::Serving,
    sound::{self, Sound},
};
use crate::{
    domain::{
        audience::models::Models,
        catalog::{
            compile::Source,
            creative::Creative,
            document::{PublicationDoc, PublicationStatus, RevisionDoc},
            gate::Surroundings,
            key::{DocumentKey, Kind},
            snapshot::Snapshot,
            templates::Templates,
        },
        creative::named_assets,
        ids::CreativeId,
        violation::Violation,
    },
    engine::images::Picture,
    ports::DocumentWrite,
};

/// A folder, read.
#[derive(Debug, Default)]
pub struct Bundle {
    /// Every document in its canonical form.
    pub documents: BTreeMap<DocumentKey, Value>,
    /// Every image.
    pub assets: Vec<Picture>,
    /// Every person, by the line of their file, from 0.
    pub people: Vec<(usize, BundledPerson)>,
    /// What they did, likewise.
    pub events: Vec<(usize, BundledEvent)>,
    /// What serves of creatives, where it is not what their drafts would make.
    pub(super) serving: BTreeMap<String, Serving>,
    /// What is wrong in files that hold no document. With any of these nothing is imported.
    pub(super) faults: Vec<FileFault>,
    /// Documents that could be read in part or not at all, with the file of each.
    pub(super) broken: BTreeMap<DocumentKey, (String, Sound)>,
}

impl Bundle {
    /// Documents that rest on broken ones, directly or not.
    fn shaken(&self) -> BTreeSet<DocumentKey> {
        let mut shaken: BTreeSet<DocumentKey> = BTreeSet::new();
        loop {
            let rests = |(key, body): &(&DocumentKey, &Value)| {
                let named = document::references(key, body, &Models::default());
                !shaken.contains(*key) && named.iter().any(|of| self.broken.contains_key(of) || shaken.contains(of))
            };
            let more: Vec<_> = self.documents.iter().filter(rests).map(|(key, _)| key.clone()).collect();
            if more.is_empty() {
                return shaken;
            }
            shaken.extend(more);
        }
    }

    /// The images of this server that its documents name.
    fn images(&self) -> BTreeSet<String> {
        let serving = self.serving.values().flat_map(|serving| named_assets(&json!(serving)));
        let broken = self.broken.values().flat_map(|(_, sound)| named_assets(&sound.body));
        self.documents.values().flat_map(named_assets).chain(serving).chain(broken).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        let sound = self.faults.is_empty() && self.broken.is_empty();
        sound && self.documents.is_empty() && self.assets.is_empty() && self.people.is_empty() && self.events.is_empty()
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
    /// What an author should look at in what a `serving.json` has serve: what the gate would refuse of it
    /// now, and what is held back. By its creative.
    pub warnings: Vec<FileFault>,
}

impl Authoring {
    /// Writes a bundle's documents in one commit and publishes its creatives. Documents that are
    /// there already are replaced; what is not in the bundle is left alone.
    ///
    /// # Errors
    /// Every fault of every document; the store's.
    pub async fn import_documents(&self, author: &Author, bundle: &Bundle) -> Result<Imported, BundleError> {
        let _turn = self.turns.wait(author.account).await;
        for _ in 0..Self::TRIES {
            let Some(mut work) = self.everything(author.account).await? else { continue };
            work.pictures.bring(&bundle.assets);
            self.look_up(author.account, &mut work.pictures, bundle.images()).await?;
            let (mut writes, imported) = self.plan(&mut work, bundle)?;
            self.choose_all(author.account, &work, &mut writes).await?;
            if writes.is_empty() || self.commit(author, work.version, writes).await?.is_some() {
                return Ok(imported);
            }
        }
        Err(AuthoringError::Contended.into())
    }

    /// Every document of an account, at one version.
    pub(super) async fn everything(&self, account: u32) -> Result<Option<Workspace>, AuthoringError> {
        let mut work = Workspace { reach: self.reach, ..Workspace::default() };
        let mut whole = true;
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            let mut after = None;
            loop {
                let page = self.list(account, kind, String::new(), after, Self::MANY).await?;
                if at == 0 && work.documents.is_empty() {
                    work.version = page.version;
                }
                whole &= page.version == work.version;
                let more = page.rows.len() == Self::MANY as usize;
                after = page.rows.last().filter(|_| more).map(|row| row.key.id.clone());
                for row in page.rows {
                    work.documents.insert(row.key, Some((row.version, row.body)));
                }
                if after.is_none() {
                    break;
                }
            }
        }
        // behind all else: a number that came since keeps what is made of it from being written
        work.numbers = self.numbers(account, None).await?;
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
        for (key, (_, sound)) in &bundle.broken {
            work.put(key.clone(), sound.body.clone());
        }
        let mut faults = bundle.faults.clone();
        let rules = work.compile_rules().err().unwrap_or_default();
        for (key, (file, sound)) in &bundle.broken {
            let mut found = work.check(key, &sound.body).err().unwrap_or_default();
            found.extend(rules.iter().filter(|(of, _)| of == key).map(|(_, fault)| fault.clone()));
            let all = sound.clone().with(key.kind, found);
            faults.extend(all.into_iter().map(|fault| FileFault { file: file.clone(), fault }));
        }
        let sound = rules.into_iter().filter(|(key, _)| !bundle.broken.contains_key(key));
        faults.extend(sound.map(|(key, fault)| FileFault { file: key.to_string(), fault }));
        let shaken = bundle.shaken();
        for (key, body) in &bundle.documents {
            if let Err(mut found) = work.check(key, body) {
                found.retain(|fault| !shaken.contains(key) || !sound::may_come_of_others(key.kind, fault));
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
        let beside = work.surroundings();
        let creatives = bundle.documents.keys().filter(|key| key.kind == Kind::Creative);
        for key in creatives
            .filter(|key| !bundle.broken.keys().any(|broken| sound::goes_into(broken, key)) && !shaken.contains(*key))
        {
            let serving = bundle.serving.get(&key.id);
            match self.publication(work, &beside, &key.id, serving) {
                Ok((publication, warnings)) => {
                    imported.published += usize::from(publication.len() > 1);
                    writes.extend(publication);
                    let warnings = warnings.into_iter().map(|fault| FileFault { file: key.to_string(), fault });
                    imported.warnings.extend(warnings);
                }
                Err(found) => faults.extend(found.into_iter().map(|fault| FileFault { file: key.to_string(), fault })),
            }
        }
        if !bundle.people.is_empty() || !bundle.events.is_empty() {
            // of people, segments are all that counts
            let counts =
                |key: &DocumentKey| !bundle.events.is_empty() || matches!(key.kind, Kind::Segment | Kind::Model);
            faults.extend(bundle.unfit(&self.compiled(work, &writes, counts)));
        }
        if faults.is_empty() { Ok((writes, imported)) } else { Err(BundleError::Faults(faults)) }
    }

    /// The catalogue as it would be, of the documents that count.
    fn compiled(&self, work: &Workspace, writes: &[DocumentWrite], counts: impl Fn(&DocumentKey) -> bool) -> Snapshot {
        let known = work.documents.iter().filter_map(|(key, known)| Some((key, &known.as_ref()?.1)));
        let written = writes.iter().filter_map(|write| Some((&write.key, write.body.as_ref()?)));
        let all = known
            .chain(written)
            .filter(|(key, _)| counts(key))
            .map(|(key, body)| (key.clone(), Some(body.clone())))
            .collect();
        Snapshot::empty().evolve(work.version, all, self.catalogue.public_url(), self.clock.now())
    }

    /// What has to be written so that a creative serves what its bundle says, or its draft where it
    /// says nothing; nothing when it does. What served where it comes from has passed the gate once: what the
    /// gate would refuse of it now, and what is held back of it, is told.
    fn publication(
        &self,
        work: &Workspace,
        beside: &Surroundings,
        id: &str,
        serving: Option<&Serving>,
    ) -> Result<(Vec<DocumentWrite>, Vec<Violation>), Vec<Violation>> {
        let creative: CreativeId =
            id.parse().map_err(|error| vec![Violation::new("", "invalid_id", format!("{error}"))])?;
        let current: Option<PublicationDoc> = work.typed(Kind::Publication, id);
        let current = current.filter(|current| current.status == PublicationStatus::Published);
        let (next, now, public_url) = (work.next_number(id), self.clock.now(), self.catalogue.public_url());
        let (compiled, doc, held) = match serving {
            Some(Serving::Draft) => return Ok((vec![], vec![])),
            Some(Serving::Archived) => {
                return Ok((current.iter().map(|doc| document::archived(id, doc)).collect(), vec![]));
            }
            Some(Serving::Published(content)) => {
                let doc = work.measured(content.as_ref().clone().revision(next, now));
                work.check_pictures(&doc)?;
                let advertiser = work.typed(Kind::Advertiser, doc.creative.advertiser.as_str());
                let (compiled, found) = Creative::published(Source {
                    id: creative.clone(),
                    doc: &doc,
                    advertiser: advertiser.as_ref(),
                    rules: &work.rules,
                    public_url,
                    known: &mut Templates::default(),
                })?;
                let held = work.held(&doc, found);
                (compiled, doc, Some(held))
            }
            None => {
                let (doc, compiled) = work.revision(id, next, now, public_url)?;
                (compiled, doc, None)
            }
        };
        let refused = || beside.refusals(&compiled, &doc, now);
        let warnings = held.map(|mut held| {
            let more: Vec<_> = refused().into_iter().filter(|fault| !held.contains(fault)).collect();
            held.extend(more);
            held
        });
        let same = current.and_then(|current| {
            let serving: RevisionDoc = work.typed(Kind::Revision, &format!("{id}/{}", current.revision))?;
            let as_now = RevisionDoc {
                revision: serving.revision,
                published_at: serving.published_at,
                combinations: serving.combinations.clone(),
                ..doc.clone()
            };
            Some(as_now == serving)
        });
        if same == Some(true) {
            return Ok((vec![], warnings.unwrap_or_default()));
        }
        let mut refs = document::revision_references(&creative, &doc, work.rules.models());
        if warnings.is_some() {
            refs.retain(|key| key.kind == Kind::Revision || work.has(key));
        } else {
            let refused = refused();
            if !refused.is_empty() {
                return Err(refused);
            }
        }
        let publication = PublicationDoc { revision: doc.revision, status: PublicationStatus::Published };
        let revision = DocumentWrite {
            key: DocumentKey::new(Kind::Revision, format!("{id}/{}", doc.revision)),
            body: Some(json!(doc)),
            refs: vec![],
        };
        let key = DocumentKey::new(Kind::Publication, id);
        Ok((vec![revision, DocumentWrite { key, body: Some(json!(publication)), refs }], warnings.unwrap_or_default()))
    }
}
