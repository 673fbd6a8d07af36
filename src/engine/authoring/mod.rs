//! Changing the catalogue: read, check against what it depends on, commit if nobody was faster.
//!
//! A change is checked with documents of one catalogue version and committed only on top of that
//! version; when somebody else was faster it is checked again. So what is in the store always
//! fits together. Authors of one account wait for each other within a replica, so that it takes
//! another replica to be faster.

pub mod bundle;
pub mod cast;
pub mod document;
pub mod drafted;
mod error;
mod export;
mod gate;
mod measured;
mod pairs;
pub mod personas;
mod pictures;
pub mod proof;
mod reader;
mod review;
mod room;
mod serving;
mod sound;
mod steps;
mod turns;
pub mod upload;
mod workspace;

use std::sync::Arc;

use serde_json::{Value, json};

pub use self::{
    error::AuthoringError,
    pairs::{Paired, Pairs},
    review::KeptAd,
    workspace::Workspace,
};
use self::{pictures::Pictures, review::Review, steps::number, turns::Turns};
use crate::{
    domain::{
        audience::models::Models,
        catalog::{
            document::{PublicationDoc, PublicationStatus},
            key::{DocumentKey, Kind},
        },
        creative::named_assets,
        ids::CreativeId,
        violation::Violation,
        webhook::Reach,
    },
    engine::{catalogue::Catalogue, images::Picture, ingest::StreamRegistry},
    ports::{CatalogStore, Clock, DocumentRow, DocumentWrite, Documents, VersionRow},
    schema::{ReadError, Schemas},
};

/// What the author believes to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: the document is to be created.
    Absent,
    /// The document at this version.
    Version(i64),
    /// The document, at whatever version.
    Present,
    /// Whatever is there.
    Any,
}

/// What an author sends along with a document.
#[derive(Debug, Clone, Copy, Default)]
pub struct Along<'a> {
    /// Images that it may name, though they are kept only once it is known to be right.
    pub pictures: &'a [Picture],
    /// The version of the creative that a component goes into, as its author saw it.
    pub creative: Option<i64>,
}

/// A change that was made, or would have been.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The document's new version (its ETag).
    pub version: i64,
    /// Whether it did not exist before.
    pub created: bool,
    /// The document in its canonical form.
    pub body: Value,
}

/// What publishing made.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The revision that serves now.
    pub revision: u32,
    /// The publication's version.
    pub version: i64,
    /// What an author should look at, though it does not keep the creative from serving.
    pub warnings: Vec<Violation>,
    /// How many of its combinations exchanges are to review.
    pub combinations: usize,
}

/// Who changes which account.
#[derive(Debug, Clone)]
pub struct Author {
    /// Number of the account.
    pub account: u32,
    /// Noted with every change.
    pub by: String,
    /// Check everything and change nothing.
    pub dry_run: bool,
}

/// Changes the catalogue.
#[derive(Clone)]
pub struct Authoring {
    turns: Arc<Turns>,
    store: Arc<dyn CatalogStore>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    schemas: Arc<Schemas>,
    streams: Arc<StreamRegistry>,
    reach: Reach,
    review: Option<Arc<Review>>,
}

impl Authoring {
    /// Largest document, in bytes: the longest markup and what is around it.
    pub const LARGEST: usize = 1 << 20;

    /// How often a change is checked again because somebody else was faster.
    const TRIES: usize = 10;
    /// The most segments or components that one check reads.
    const MANY: u32 = 100_000;

    /// Authoring on a store; what is written is live on this replica when the call returns, and events
    /// count for its rules on all. The addresses of feeds may lead as far as `reach`.
    #[must_use]
    pub fn new(
        store: Arc<dyn CatalogStore>,
        catalogue: Arc<Catalogue>,
        clock: Arc<dyn Clock>,
        schemas: Arc<Schemas>,
        streams: Arc<StreamRegistry>,
        reach: Reach,
    ) -> Self {
        Self { turns: Arc::default(), store, catalogue, clock, schemas, streams, reach, review: None }
    }

    /// A document.
    ///
    /// # Errors
    /// It does not exist; the store's.
    pub async fn get(&self, account: u32, key: DocumentKey) -> Result<DocumentRow, AuthoringError> {
        let mut found = self.store.get(account, vec![key.clone()]).await?;
        found.rows.pop().ok_or(AuthoringError::NotFound(key))
    }

    /// What a document was, the newest first, before a catalogue version, at most `limit`.
    ///
    /// # Errors
    /// There never was such a document; the store's.
    pub async fn history(
        &self,
        account: u32,
        key: DocumentKey,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<VersionRow>, AuthoringError> {
        let found = self.store.history(account, key.clone(), before, limit).await?;
        if found.is_empty() && before.is_none() { Err(AuthoringError::NotFound(key)) } else { Ok(found) }
    }

    /// Documents of a kind in the order of their ids.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        account: u32,
        kind: Kind,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Documents, AuthoringError> {
        Ok(self.store.list(account, kind, prefix, after, limit).await?)
    }

    /// Revisions of a creative that come after one, by their numbers, at most `limit`; and which
    /// of all its revisions serves.
    ///
    /// # Errors
    /// The creative does not exist; the store's.
    pub async fn revisions(
        &self,
        account: u32,
        id: &CreativeId,
        after: u32,
        limit: u32,
    ) -> Result<(Vec<DocumentRow>, Option<u32>), AuthoringError> {
        let creative = DocumentKey::new(Kind::Creative, id.as_str());
        let publication = DocumentKey::new(Kind::Publication, id.as_str());
        // numbers count up and none is ever deleted alone; they begin behind those of a creative that was deleted
        let first =
            self.store.revision_numbers(account, Some(id.clone())).await?.pop().and_then(|numbers| numbers.first);
        let from = after.saturating_add(1).max(first.unwrap_or_default());
        let numbers = from..from.saturating_add(limit);
        let revisions = numbers.map(|number| DocumentKey::new(Kind::Revision, format!("{id}/{number}")));
        let keys = revisions.chain([creative.clone(), publication]).collect();
        let mut rows = self.store.get(account, keys).await?.rows;
        if !rows.iter().any(|row| row.key == creative) {
            return Err(AuthoringError::NotFound(creative));
        }
        let publication = rows.iter().find(|row| row.key.kind == Kind::Publication);
        let publication = publication.and_then(|row| serde_json::from_value::<PublicationDoc>(row.body.clone()).ok());
        let serving = publication.filter(|doc| doc.status == PublicationStatus::Published).map(|doc| doc.revision);
        rows.retain(|row| row.key.kind == Kind::Revision);
        rows.sort_by_key(|row| number(&row.key.id));
        Ok((rows, serving))
    }

    /// Creates or replaces a document.
    ///
    /// # Errors
    /// See [`AuthoringError`].
    pub async fn put(
        &self,
        author: &Author,
        key: DocumentKey,
        expect: Expect,
        bytes: &[u8],
        along: Along<'_>,
    ) -> Result<Written, AuthoringError> {
        let mut body = match document::canonical(key.kind, &self.schemas, bytes) {
            Err(ReadError::Invalid(faults)) => {
                let all = self.every_fault(author.account, &key, bytes, faults).await;
                return Err(ReadError::Invalid(all).into());
            }
            read => read?,
        };
        let refs = document::references(&key, &body, &Models::default());
        let _turn = self.turns.wait(author.account).await;
        let mut pictures = Pictures::default();
        pictures.bring(along.pictures);
        self.look_up(author.account, &mut pictures, named_assets(&body)).await?;
        if let Some(value) = body.get_mut("value").filter(|_| key.kind == Kind::Component) {
            pictures.fill(value);
        }
        for _ in 0..Self::TRIES {
            let Some((mut work, current)) = self.begin(author.account, &key, expect, refs.clone()).await? else {
                continue;
            };
            work.pictures = pictures.clone();
            work.put(key.clone(), body.clone());
            self.joins(author.account, &work, &key, (current, along.creative)).await?;
            if !self.load_rules(author.account, &mut work, &key).await? {
                continue;
            }
            work.check(&key, &body).map_err(AuthoringError::Invalid)?;
            let refs = document::references(&key, &body, work.rules.models());
            let write = DocumentWrite { key: key.clone(), body: Some(body.clone()), refs };
            if let Some(version) = self.commit(author, work.version, vec![write]).await? {
                return Ok(Written { version, created: current.is_none(), body });
            }
        }
        Err(AuthoringError::Contended)
    }

    /// Deletes a document; a creative goes with its components, its publication and its audits.
    ///
    /// # Errors
    /// See [`AuthoringError`].
    pub async fn delete(&self, author: &Author, key: DocumentKey, expect: Expect) -> Result<(), AuthoringError> {
        let _turn = self.turns.wait(author.account).await;
        for _ in 0..Self::TRIES {
            let Some((work, current)) = self.begin(author.account, &key, expect, vec![]).await? else { continue };
            if current.is_none() {
                return Err(AuthoringError::NotFound(key));
            }
            let mut keys = vec![key.clone()];
            if key.kind == Kind::Creative {
                keys.push(DocumentKey::new(Kind::Publication, &key.id));
                for kind in [Kind::Component, Kind::Revision, Kind::Audit] {
                    let own = self.store.list(author.account, kind, format!("{}/", key.id), None, Self::MANY).await?;
                    keys.extend(own.rows.into_iter().map(|row| row.key));
                }
                let known = self.store.get(author.account, vec![keys[1].clone()]).await?;
                if known.rows.is_empty() {
                    keys.swap_remove(1);
                }
            }
            let writes = keys.into_iter().map(|key| DocumentWrite { key, body: None, refs: vec![] }).collect();
            if self.commit(author, work.version, writes).await?.is_some() {
                return Ok(());
            }
        }
        Err(AuthoringError::Contended)
    }

    /// Publishes a creative's draft, if it is the one expected, as a new revision, or serves an
    /// earlier one again. `previewed` is the [`proof::Proof::tag`] of what must be published.
    ///
    /// # Errors
    /// See [`AuthoringError`]; invalid when the draft cannot be served as it is, or the revision
    /// cannot be rendered any more.
    pub async fn publish(
        &self,
        author: &Author,
        id: &CreativeId,
        expect: Expect,
        previewed: Option<u64>,
        revision: Option<u32>,
    ) -> Result<Published, AuthoringError> {
        let _turn = self.turns.wait(author.account).await;
        for _ in 0..Self::TRIES {
            let Some(mut work) = self.draft(author.account, id, expect, previewed).await? else { continue };
            let next = match revision {
                Some(wanted) => self.again(author.account, &mut work, id, wanted).await?,
                None => self.compile(&work, id, work.next_number(id.as_str()))?,
            };
            let (doc, compiled, held) = next;
            let (fresh, compiled) = (held.is_none(), Arc::new(compiled));
            let gate::Passed { mut doc, warnings } = self.judge(&work, doc, Arc::clone(&compiled), held).await?;
            // one of before there were any to choose gets them when it serves again
            let chooses = self.review.is_some() && doc.combinations.is_empty();
            if chooses {
                doc.combinations = self.choose(author.account, compiled).await?;
            }
            let mut refs = document::revision_references(id, &doc, work.rules.models());
            refs.retain(|key| fresh || work.has(key));
            let publication = json!(PublicationDoc { revision: doc.revision, status: PublicationStatus::Published });
            let mut writes = vec![DocumentWrite {
                key: DocumentKey::new(Kind::Publication, id.as_str()),
                body: Some(publication),
                refs,
            }];
            if fresh || chooses {
                writes.push(DocumentWrite {
                    key: DocumentKey::new(Kind::Revision, format!("{id}/{}", doc.revision)),
                    body: Some(json!(doc)),
                    refs: vec![],
                });
            }
            if let Some(version) = self.commit(author, work.version, writes).await? {
                let combinations = doc.combinations.len();
                return Ok(Published { revision: doc.revision, version, warnings, combinations });
            }
        }
        Err(AuthoringError::Contended)
    }

    /// Stops serving a creative; its revisions are kept. Answers the version since which it does not
    /// serve, and the documents that count on it.
    ///
    /// # Errors
    /// See [`AuthoringError`].
    pub async fn archive(&self, author: &Author, id: &CreativeId) -> Result<(i64, Vec<Violation>), AuthoringError> {
        let key = DocumentKey::new(Kind::Publication, id.as_str());
        let _turn = self.turns.wait(author.account).await;
        for _ in 0..Self::TRIES {
            let Some((work, _)) = self.begin(author.account, &key, Expect::Any, vec![]).await? else { continue };
            let Some(doc) = work.typed::<PublicationDoc>(Kind::Publication, id.as_str()) else {
                return Err(AuthoringError::NotFound(key));
            };
            let write = document::archived(id.as_str(), &doc);
            if let Some(version) = self.commit(author, work.version, vec![write]).await? {
                return Ok((version, self.counting_on(author.account, id)));
            }
        }
        Err(AuthoringError::Contended)
    }
}
