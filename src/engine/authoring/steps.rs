//! The steps that every change of the catalogue is made of.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;

use super::{Author, Authoring, AuthoringError, Expect, Workspace, document, sound::Sound};
use crate::{
    domain::{
        audience::models::Models,
        catalog::{
            compile::Source,
            creative::Creative,
            document::RevisionDoc,
            key::{DocumentKey, Kind},
            templates::Templates,
        },
        creative::{CreativeDoc, named_assets},
        ids::CreativeId,
        violation::Violation,
    },
    ports::{Commit, DocumentWrite, Documents, StoreError},
};

impl Authoring {
    /// Reads a document and those it names at one version, and checks what the author expects.
    /// `None`: the catalogue moved in between.
    pub(super) async fn begin(
        &self,
        account: u32,
        key: &DocumentKey,
        expect: Expect,
        refs: Vec<DocumentKey>,
    ) -> Result<Option<(Workspace, Option<i64>)>, AuthoringError> {
        let mut keys = refs;
        keys.push(key.clone());
        let mut work = Workspace { reach: self.reach, ..Workspace::default() };
        if !self.read(account, &mut work, keys).await? {
            return Ok(None);
        }
        let current = work.documents.get(key).and_then(|found| found.as_ref().map(|(version, _)| *version));
        match (expect, current) {
            (Expect::Any, _) | (Expect::Absent, None) | (Expect::Present, Some(_)) => {}
            (Expect::Version(seen), Some(now)) if seen == now => {}
            (_, current) => return Err(AuthoringError::Stale { current }),
        }
        // campaigns show creatives of their own advertiser only
        if key.kind == Kind::Creative && current.is_some() {
            let campaigns = self.store.list(account, Kind::Campaign, String::new(), None, Self::MANY).await?;
            if !take(&mut work, campaigns, vec![]) {
                return Ok(None);
            }
        }
        // a component is checked with its creative's templates
        if key.kind == Kind::Component {
            let creative = key.id.split('/').next().unwrap_or_default();
            let draft = work.typed::<CreativeDoc>(Kind::Creative, creative);
            let templates = draft.iter().flat_map(|draft| &draft.templates);
            let templates = templates.map(|id| DocumentKey::new(Kind::Template, id.as_str())).collect();
            if !self.read(account, &mut work, templates).await? {
                return Ok(None);
            }
        }
        Ok(Some((work, current)))
    }

    /// Reads documents into the workspace; whether they are of its version.
    pub(super) async fn read(
        &self,
        account: u32,
        work: &mut Workspace,
        keys: Vec<DocumentKey>,
    ) -> Result<bool, AuthoringError> {
        let found = self.store.get(account, keys.clone()).await?;
        Ok(take(work, found, keys))
    }

    /// Brings the compiled segments into the workspace; whether they are of its version. A
    /// changed segment is compiled with all others, and every fault that it causes is its own.
    pub(super) async fn load_rules(
        &self,
        account: u32,
        work: &mut Workspace,
        key: &DocumentKey,
    ) -> Result<bool, AuthoringError> {
        if !matches!(key.kind, Kind::Segment | Kind::Model) {
            self.catalogue.reached(account, work.version, Duration::from_millis(50)).await;
            let world = self.catalogue.world();
            if let Some(live) = world.account(account).filter(|account| account.snapshot.version == work.version) {
                work.rules = Arc::clone(&live.snapshot.rules);
                return Ok(true);
            }
        }
        let changed = work.documents.get(key).cloned();
        // targeting must still mean something when what was learned changes
        let targeted = [Kind::Campaign, Kind::Component].into_iter().filter(|_| key.kind == Kind::Model);
        for kind in [Kind::Model, Kind::Segment].into_iter().chain(targeted) {
            let all = self.store.list(account, kind, String::new(), None, Self::MANY).await?;
            if !take(work, all, vec![]) {
                return Ok(false);
            }
        }
        if let Some(changed) = changed {
            work.documents.insert(key.clone(), changed);
        }
        match work.compile_rules() {
            Err(faults) if matches!(key.kind, Kind::Segment | Kind::Model) => {
                let at = if key.kind == Kind::Segment { "/rule" } else { "" };
                let own = |(of, fault): (DocumentKey, Violation)| {
                    if of == *key {
                        fault
                    } else {
                        Violation::new(at, fault.code, format!("breaks {of}: {}", fault.detail))
                    }
                };
                Err(AuthoringError::Invalid(faults.into_iter().map(own).collect()))
            }
            _ => Ok(true),
        }
    }

    /// The faults of a document that cannot be read as a whole, and those of its other parts.
    pub(super) async fn every_fault(
        &self,
        account: u32,
        key: &DocumentKey,
        bytes: &[u8],
        known: Vec<Violation>,
    ) -> Vec<Violation> {
        let Some(sound) = Sound::of(key.kind, &self.schemas, bytes, &known) else { return known };
        let refs = document::references(key, &sound.body, &Models::default());
        // what cannot be had now is told when the rest is right
        let Ok(Some((mut work, _))) = self.begin(account, key, Expect::Any, refs).await else { return known };
        // nor are images that could not be looked up held against it
        let _ = self.look_up(account, &mut work.pictures, named_assets(&sound.body)).await;
        work.put(key.clone(), sound.body.clone());
        let found = match self.load_rules(account, &mut work, key).await {
            Ok(true) => work.check(key, &sound.body).err().unwrap_or_default(),
            Err(AuthoringError::Invalid(found)) => found,
            _ => Vec::new(),
        };
        sound.with(key.kind, found)
    }

    /// A creative's draft with everything that publishing it needs, if it is the one expected and
    /// that was looked at.
    pub(super) async fn draft(
        &self,
        account: u32,
        id: &CreativeId,
        expect: Expect,
        previewed: Option<u64>,
    ) -> Result<Option<Workspace>, AuthoringError> {
        let key = DocumentKey::new(Kind::Creative, id.as_str());
        let (mut work, current) = match self.begin(account, &key, expect, vec![]).await {
            Ok(Some(begun)) => begun,
            Ok(None) => return Ok(None),
            Err(AuthoringError::Stale { current: None }) => return Err(AuthoringError::NotFound(key)),
            Err(error) => return Err(error),
        };
        if current.is_none() {
            return Err(AuthoringError::NotFound(key));
        }
        let mut whole = self.parts(account, &mut work, id).await?;
        if whole && previewed.is_some_and(|tag| tag != work.draft_tag(id)) {
            return Err(AuthoringError::Stale { current });
        }
        whole &= self.read_beside(account, &mut work, id).await?;
        whole &= self.load_rules(account, &mut work, &key).await?;
        Ok(whole.then_some(work))
    }

    /// Reads what publishing a creative needs beside its draft, which is in the workspace; whether that is
    /// of its version.
    pub(super) async fn parts(
        &self,
        account: u32,
        work: &mut Workspace,
        id: &CreativeId,
    ) -> Result<bool, AuthoringError> {
        let key = DocumentKey::new(Kind::Creative, id.as_str());
        let draft = work.typed::<CreativeDoc>(Kind::Creative, id.as_str());
        let refs =
            document::references(&key, &draft.map(|draft| json!(draft)).unwrap_or_default(), work.rules.models());
        let mut whole = self.read(account, work, refs).await?;
        for kind in [Kind::Component, Kind::Revision] {
            let own = self.store.list(account, kind, format!("{id}/"), None, Self::MANY + 1).await?;
            if own.rows.len() > Self::MANY as usize {
                let detail = format!("a creative can be published with at most {} of these", Self::MANY);
                return Err(AuthoringError::Invalid(vec![Violation::new(format!("/{kind}s"), "too_many", detail)]));
            }
            whole &= take(work, own, vec![]);
        }
        work.numbers.extend(self.numbers(account, Some(id.clone())).await?);
        let shown = [Kind::Component, Kind::Template].into_iter().flat_map(|kind| work.of(kind, ""));
        let names = shown.flat_map(|(_, body)| named_assets(body)).collect();
        self.look_up(account, &mut work.pictures, names).await?;
        Ok(whole)
    }

    /// The highest numbers that revisions of one creative, or of each, ever had.
    pub(super) async fn numbers(
        &self,
        account: u32,
        creative: Option<CreativeId>,
    ) -> Result<BTreeMap<String, u32>, AuthoringError> {
        let known = self.store.revision_numbers(account, creative).await?;
        Ok(known.into_iter().map(|of| (of.creative, of.newest)).collect())
    }

    pub(super) fn compile(
        &self,
        work: &Workspace,
        id: &CreativeId,
        number: u32,
    ) -> Result<(RevisionDoc, Creative, Option<Vec<Violation>>), AuthoringError> {
        let made = work.revision(id.as_str(), number, self.clock.now(), self.catalogue.public_url());
        made.map(|(doc, compiled)| (doc, compiled, None)).map_err(AuthoringError::Invalid)
    }

    /// An earlier revision, compiled with the advertiser and the segments of today, and what of it
    /// cannot be shown any more.
    pub(super) async fn again(
        &self,
        account: u32,
        work: &mut Workspace,
        id: &CreativeId,
        wanted: u32,
    ) -> Result<(RevisionDoc, Creative, Option<Vec<Violation>>), AuthoringError> {
        let key = DocumentKey::new(Kind::Revision, format!("{id}/{wanted}"));
        let doc: RevisionDoc =
            work.typed(Kind::Revision, &key.id).ok_or_else(|| AuthoringError::NotFound(key.clone()))?;
        self.read(account, work, document::revision_references(id, &doc, work.rules.models())).await?;
        let advertiser = work.typed(Kind::Advertiser, doc.creative.advertiser.as_str());
        let compiled = Creative::published(Source {
            id: id.clone(),
            doc: &doc,
            advertiser: advertiser.as_ref(),
            rules: &work.rules,
            public_url: self.catalogue.public_url(),
            known: &mut Templates::default(),
        });
        let (compiled, found) = compiled.map_err(AuthoringError::Invalid)?;
        let held = work.held(&doc, found);
        Ok((doc, compiled, Some(held)))
    }

    /// What names a creative that no longer serves.
    pub(super) fn counting_on(&self, account: u32, id: &CreativeId) -> Vec<Violation> {
        let world = self.catalogue.world();
        let Some(live) = world.account(account) else { return Vec::new() };
        let snapshot = &live.snapshot;
        let campaigns =
            snapshot.lines.iter().map(|line| &line.campaign).filter(|campaign| campaign.creatives.contains(id));
        let campaigns = campaigns.map(|campaign| format!("campaign/{}", campaign.id));
        let houses = snapshot.placements.iter().filter(|(_, placement)| placement.house.as_ref() == Some(id));
        let houses = houses.map(|(place, _)| format!("placement/{place}"));
        let fault = |by| Violation::new("", "archived_in_use", format!("{by} still names it and no longer shows it"));
        let mut found: Vec<_> = campaigns.chain(houses).map(fault).collect();
        found.sort_by(|a, b| a.detail.cmp(&b.detail));
        found
    }

    /// Commits and follows; `None` when somebody else was faster.
    pub(super) async fn commit(
        &self,
        author: &Author,
        based_on: i64,
        writes: Vec<DocumentWrite>,
    ) -> Result<Option<i64>, AuthoringError> {
        match self.store.commit(author.account, based_on, author.by.clone(), writes, author.dry_run).await? {
            Commit::Done { version } => {
                if !author.dry_run
                    && let Err(error) = self.live(author.account, version).await
                {
                    tracing::warn!(%error, "a committed change is not live here yet; it will be in a moment");
                }
                Ok(Some(version))
            }
            Commit::Moved { .. } => Ok(None),
            Commit::InUse { key, by } => Err(AuthoringError::InUse { key, by }),
            Commit::NoAsset { name } => Err(AuthoringError::NoAsset(name)),
            Commit::Missing { missing, .. } => {
                let detail = format!("there is no {missing}");
                Err(AuthoringError::Invalid(vec![Violation::new("", "unknown_reference", detail)]))
            }
        }
    }

    /// Has this replica serve a change, and every replica count events for its rules from here on.
    async fn live(&self, account: u32, version: i64) -> Result<(), StoreError> {
        self.catalogue.follow(account, version).await?;
        match self.catalogue.world().account(account) {
            Some(account) => self.streams.ensure(account.number(), &account.snapshot.streams).await,
            None => Ok(()),
        }
    }
}

impl Workspace {
    /// The number of a creative's next revision. None comes again: exchanges keep what they know by it.
    pub(super) fn next_number(&self, creative: &str) -> u32 {
        self.numbers.get(creative).copied().unwrap_or_default() + 1
    }
}

/// Takes documents into the workspace; whether they are of its version.
pub(super) fn take(work: &mut Workspace, found: Documents, looked_for: Vec<DocumentKey>) -> bool {
    if work.documents.is_empty() {
        work.version = found.version;
    }
    for key in looked_for {
        work.documents.entry(key).or_insert(None);
    }
    for row in found.rows {
        work.documents.insert(row.key, Some((row.version, row.body)));
    }
    work.version == found.version
}

pub(super) fn number(revision: &str) -> Option<u32> {
    revision.rsplit_once('/')?.1.parse().ok()
}
