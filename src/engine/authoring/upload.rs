//! Many components of one creative at once: checked row by row, committed together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::{Author, Authoring, AuthoringError, Expect, Paired, Pairs, Workspace, document, room::Room};
use crate::{
    domain::{
        catalog::key::{DocumentKey, Kind},
        creative::{ASSETS, ComponentDoc, CreativeDoc, Picking, SlotSpec, named_assets},
        ids::{ComponentId, CreativeId, SlotName},
        violation::Violation,
    },
    ports::DocumentWrite,
    schema::ReadError,
};

/// A component to create or replace.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentRow {
    /// Where it stands in what was sent.
    pub line: u64,
    /// Its id.
    pub id: ComponentId,
    /// The version that its author saw; none: there was no such component.
    pub seen: Option<i64>,
    /// The document in its canonical form, written: of many, text takes the least memory.
    pub body: Box<str>,
}

/// What each slot of a draft accepts, in every template that has it.
pub type Slots = BTreeMap<SlotName, Vec<SlotSpec>>;

/// An upload under way, from its first row to its last.
pub struct Upload {
    pub(super) creative: CreativeId,
    /// The version of the draft that its author saw.
    seen: Option<i64>,
    /// Whether components are replaced whatever they are.
    overwrite: bool,
    /// Whether nothing is written unless every row can be taken.
    pub whole: bool,
    /// The lines on which ids came first, and the slots of those taken: no more than a creative has components.
    pub(super) lines: HashMap<ComponentId, (u64, Option<SlotName>)>,
    room: Room,
    /// Rules that go into the draft with the next rows, which are the last.
    pub pairs: Option<Pairs>,
    /// What became of them.
    pub paired: Paired,
}

impl Upload {
    /// Whether the id of a row is new in this upload.
    fn again(&mut self, row: &ComponentRow) -> Result<(), Violation> {
        let most = Authoring::MANY as usize;
        match self.lines.get(&row.id) {
            Some((first, _)) if *first == row.line => Ok(()),
            Some((first, _)) => Err(Violation::new("/id", "duplicate_id", format!("line {first} has this id"))),
            None if self.lines.len() == most => {
                let detail = format!("an upload takes at most {most} components, as a creative does: send another");
                Err(Violation::new("", "too_many", detail))
            }
            None => {
                self.lines.insert(row.id.clone(), (row.line, None));
                Ok(())
            }
        }
    }
}

/// What became of rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken {
    /// Components that did not exist before.
    pub created: u64,
    /// Components that were others before.
    pub replaced: u64,
    /// Components that were just so already.
    pub unchanged: u64,
    /// Rows that cannot be taken, by their lines, with everything that is wrong with each.
    pub refused: Vec<(u64, Vec<Violation>)>,
    /// The catalogue version that has them; none: nothing was written.
    pub version: Option<i64>,
}

impl Authoring {
    /// Rows that are committed together where not all of them have to be.
    pub const BATCH: usize = 1_000;

    /// A component's document in its canonical form.
    ///
    /// # Errors
    /// It is not JSON, or not as its schema says.
    pub fn read_component(&self, bytes: &[u8]) -> Result<Box<str>, ReadError> {
        Ok(document::canonical(Kind::Component, &self.schemas, bytes)?.to_string().into())
    }

    /// Begins an upload into a creative, which is as its author saw it; with what the slots of its
    /// draft accept, in each template that has them.
    ///
    /// # Errors
    /// There is no such creative, or it is another one now; the store's.
    pub async fn upload(
        &self,
        account: u32,
        creative: &CreativeId,
        expect: Expect,
    ) -> Result<(Slots, Upload), AuthoringError> {
        let mut work = Workspace::default();
        let (_, draft) = self.creative_with_templates(account, &mut work, creative, Vec::new()).await?;
        let seen = if let Expect::Version(seen) = expect { Some(seen) } else { None };
        work.is_at(creative, seen)?;
        let mut slots = Slots::new();
        for (name, spec) in work.slots_of(&draft).all() {
            slots.entry(name.clone()).or_default().push(spec.clone());
        }
        let (room, overwrite) = (self.room(account, creative).await?, expect == Expect::Present);
        let upload = Upload {
            creative: creative.clone(),
            seen,
            overwrite,
            whole: false,
            lines: HashMap::new(),
            room,
            pairs: None,
            paired: Paired::default(),
        };
        Ok((slots, upload))
    }

    /// Writes the components that can be taken in one commit. A component that exists and is
    /// another one is replaced only where its author saw it as it is, or whatever there is may be. The upload's pairing
    /// rules are written with them, where the draft is as its author saw it.
    ///
    /// # Errors
    /// See [`AuthoringError`]; what is wrong with rows and rules is no error.
    pub async fn put_components(
        &self,
        author: &Author,
        upload: &mut Upload,
        rows: &[ComponentRow],
    ) -> Result<Taken, AuthoringError> {
        let creative = &upload.creative.clone();
        let key = |id: &ComponentId| DocumentKey::new(Kind::Component, format!("{creative}/{id}"));
        let _turn = self.turns.wait(author.account).await;
        for _ in 0..Self::TRIES {
            let mut work = Workspace::default();
            self.look_up(author.account, &mut work.pictures, images(rows)).await?;
            let others = upload.pairs.iter().flat_map(Pairs::others);
            let wanted = rows.iter().map(|row| &row.id).chain(others).map(key).collect();
            let (steady, draft) = self.creative_with_templates(author.account, &mut work, creative, wanted).await?;
            let own = DocumentKey::new(Kind::Creative, creative.as_str());
            let steady = steady && self.read(author.account, &mut work, feeds(rows)).await?;
            if !steady || !self.load_rules(author.account, &mut work, &own).await? {
                continue;
            }
            let mut after = upload.room.clone();
            let (mut taken, mut writes) = plan(&work, &draft, rows, upload, &mut after, key);
            if upload.pairs.is_some() {
                work.is_at(creative, upload.seen)?;
            }
            writes.extend(upload.pair(&work, &draft)?);
            let sound = taken.refused.is_empty() && upload.paired.refused.is_empty();
            if writes.is_empty() || upload.whole && !sound {
                return Ok(taken);
            }
            match self.commit(author, work.version, writes).await {
                // looked up again, it is against the rows that name it and no others
                Ok(None) | Err(AuthoringError::NoAsset(_)) => {}
                Err(error) => return Err(error),
                Ok(version) => {
                    (taken.version, upload.room) = (version, after);
                    return Ok(taken);
                }
            }
        }
        Err(AuthoringError::Contended)
    }

    /// Reads a draft with its templates and other documents; whether all are of one version.
    async fn creative_with_templates(
        &self,
        account: u32,
        work: &mut Workspace,
        creative: &CreativeId,
        mut others: Vec<DocumentKey>,
    ) -> Result<(bool, CreativeDoc), AuthoringError> {
        let key = DocumentKey::new(Kind::Creative, creative.as_str());
        others.push(key.clone());
        let mut steady = self.read(account, work, others).await?;
        let draft: CreativeDoc = work.typed(Kind::Creative, creative.as_str()).ok_or(AuthoringError::NotFound(key))?;
        let templates = draft.templates.iter().map(|id| DocumentKey::new(Kind::Template, id.as_str())).collect();
        steady &= self.read(account, work, templates).await?;
        Ok((steady, draft))
    }
}

/// The images of this server that rows name.
fn images(rows: &[ComponentRow]) -> BTreeSet<String> {
    let rows = rows.iter().filter(|row| row.body.contains(ASSETS));
    rows.filter_map(|row| serde_json::from_str(&row.body).ok()).flat_map(|body: Value| named_assets(&body)).collect()
}

/// The feeds that rows pick products from.
fn feeds(rows: &[ComponentRow]) -> Vec<DocumentKey> {
    let feed = |row: &ComponentRow| {
        let body: Value = serde_json::from_str(&row.body).ok()?;
        Some(DocumentKey::new(Kind::Feed, Picking::of(body.get("value")?)?.feed.as_str()))
    };
    let mut feeds: Vec<_> = rows.iter().filter(|row| row.body.contains("\"feed\"")).filter_map(feed).collect();
    feeds.sort();
    feeds.dedup();
    feeds
}

/// What has to be written for the rows that can be taken.
fn plan(
    work: &Workspace,
    draft: &CreativeDoc,
    rows: &[ComponentRow],
    upload: &mut Upload,
    room: &mut Room,
    key: impl Fn(&ComponentId) -> DocumentKey,
) -> (Taken, Vec<DocumentWrite>) {
    let (slots, mut taken, mut writes) = (work.slots_of(draft), Taken::default(), Vec::new());
    for row in rows {
        let key = key(&row.id);
        let mut faults = Vec::new();
        let mut body: Value = serde_json::from_str(&row.body).unwrap_or_default();
        if let Some(value) = body.get_mut("value") {
            work.pictures.fill(value);
        }
        let doc = ComponentDoc::deserialize(&body);
        match &doc {
            Ok(doc) => {
                faults.extend(slots.check(doc, &work.rules, &work.pictures).err().unwrap_or_default());
                let picking = work.check_picking(draft, doc).err().unwrap_or_default();
                faults.extend(picking.into_iter().map(|fault| fault.under("/value")));
            }
            Err(error) => faults.push(Violation::new("", "unreadable", error.to_string())),
        }
        if faults.is_empty() {
            // wherever it stands
            faults.extend(work.pictures.check_named(&body).err());
        }
        if let Err(fault) = upload.again(row) {
            faults.push(fault);
            taken.refused.push((row.line, faults));
            continue;
        }
        // of an earlier try
        upload.lines.entry(row.id.clone()).and_modify(|(_, slot)| *slot = None);
        let current = work.documents.get(&key).and_then(Option::as_ref);
        let count = match current {
            Some((_, known)) if *known == body => &mut taken.unchanged,
            Some((version, _)) if upload.overwrite || row.seen == Some(*version) => &mut taken.replaced,
            None if row.seen.is_none() => &mut taken.created,
            Some((version, _)) => {
                let detail = format!("it is another one, at version {version}: send that as `version` to replace it");
                faults.push(Violation::new("/id", "exists", detail));
                &mut taken.unchanged
            }
            None => {
                faults.push(Violation::new("/version", "gone", "there is no such component any more"));
                &mut taken.unchanged
            }
        };
        if let (Ok(doc), true) = (&doc, faults.is_empty()) {
            match current.map(|(_, known)| known.get("slot").and_then(Value::as_str)) {
                None => faults.extend(room.take(&doc.slot).err()),
                Some(from) => room.moved(from.unwrap_or_default(), &doc.slot),
            }
        }
        if !faults.is_empty() {
            taken.refused.push((row.line, faults));
            continue;
        }
        if let (Ok(doc), Some((_, slot))) = (doc, upload.lines.get_mut(&row.id)) {
            *slot = Some(doc.slot);
        }
        *count += 1;
        if current.is_none_or(|(_, known)| *known != body) {
            let refs = document::references(&key, &body, work.rules.models());
            writes.push(DocumentWrite { key, body: Some(body), refs });
        }
    }
    (taken, writes)
}
