//! A draft of several documents at once, checked as if it were written, and not written.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Authoring, AuthoringError, Workspace, document, steps::take};
use crate::{
    domain::{
        audience::models::Models,
        catalog::{
            document::{PublicationDoc, PublicationStatus},
            key::{DocumentKey, Kind},
            snapshot::Changed,
        },
        ids::{CampaignId, CreativeId},
        violation::{Violation, Violations, token},
    },
    engine::world::Account,
    schema::ReadError,
};

/// What would be changed.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Campaigns by their ids, as they would be; without a document, they would be deleted.
    pub campaigns: BTreeMap<String, Option<Value>>,
    /// Creatives whose drafts would be published.
    pub publish: Vec<String>,
}

/// A draft that could be written.
pub struct Drafted {
    /// The account, with the catalogue that the draft is laid upon.
    pub account: Arc<Account>,
    /// How the catalogue would change.
    pub changes: Vec<Changed>,
    /// The campaigns that there would be.
    pub campaigns: Vec<CampaignId>,
}

/// A draft whose documents have the right form.
#[derive(Default)]
struct Formed {
    campaigns: Vec<(CampaignId, Option<Value>)>,
    creatives: Vec<(usize, CreativeId)>,
}

fn campaign(id: &str) -> String {
    format!("/campaigns/{}", token(id))
}

impl Authoring {
    /// How long it waits for the live catalogue to be as new as what was read.
    const NEWEST: Duration = Duration::from_secs(1);

    /// Checks a draft as writing it would.
    ///
    /// # Errors
    /// Every fault of every document, with pointers into the draft; the store's.
    pub async fn drafted(&self, account: u32, draft: &Draft) -> Result<Drafted, AuthoringError> {
        let mut faults = Violations::new();
        let formed = self.formed(account, draft, &mut faults).await;
        let formed_badly = faults.into_vec();
        for _ in 0..Self::TRIES {
            let Some((work, mut found, changes)) = self.laid(account, &formed).await? else { continue };
            found.extend(formed_badly.iter().cloned());
            if !found.is_empty() {
                found.sort_by(|a, b| a.pointer.cmp(&b.pointer));
                return Err(AuthoringError::Invalid(found));
            }
            self.catalogue.reached(account, work.version, Self::NEWEST).await;
            let world = self.catalogue.world();
            if let Some(live) = world.account(account).filter(|live| live.snapshot.version == work.version) {
                let kept = formed.campaigns.into_iter().filter(|(_, body)| body.is_some());
                let campaigns = kept.map(|(id, _)| id).collect();
                return Ok(Drafted { account: Arc::clone(live), changes, campaigns });
            }
        }
        Err(AuthoringError::Contended)
    }

    async fn formed(&self, account: u32, draft: &Draft, faults: &mut Violations) -> Formed {
        let mut formed = Formed::default();
        for (id, body) in &draft.campaigns {
            let name = match id.parse::<CampaignId>() {
                Ok(name) => name,
                Err(error) => {
                    faults.push(campaign(id), "invalid_id", error.to_string());
                    continue;
                }
            };
            let Some(body) = body else {
                formed.campaigns.push((name, None));
                continue;
            };
            let bytes = body.to_string().into_bytes();
            let key = DocumentKey::new(Kind::Campaign, id);
            match document::canonical(Kind::Campaign, &self.schemas, &bytes) {
                Ok(body) => formed.campaigns.push((name, Some(body))),
                Err(ReadError::Invalid(found)) => {
                    let all = self.every_fault(account, &key, &bytes, found).await;
                    faults.extend_under(&campaign(id), all);
                }
                Err(error) => faults.push(campaign(id), "malformed", error.to_string()),
            }
        }
        for (at, id) in draft.publish.iter().enumerate() {
            match id.parse::<CreativeId>() {
                Ok(id) => formed.creatives.push((at, id)),
                Err(error) => faults.push(format!("/publish/{at}"), "invalid_id", error.to_string()),
            }
        }
        formed
    }

    /// The draft upon what it depends on, with its faults and what it changes; `None`: the catalogue
    /// moved in between.
    async fn laid(
        &self,
        account: u32,
        draft: &Formed,
    ) -> Result<Option<(Workspace, Vec<Violation>, Vec<Changed>)>, AuthoringError> {
        let mut work = Workspace { reach: self.reach, ..Workspace::default() };
        let key = |id: &CampaignId| DocumentKey::new(Kind::Campaign, id.as_str());
        let creatives = draft.creatives.iter().map(|(_, id)| DocumentKey::new(Kind::Creative, id.as_str()));
        let mut named: Vec<_> = draft.campaigns.iter().map(|(id, _)| key(id)).chain(creatives).collect();
        let bodies = draft.campaigns.iter().filter_map(|(id, body)| Some((key(id), body.as_ref()?)));
        named.extend(bodies.flat_map(|(key, body)| document::references(&key, body, &Models::default())));
        named.sort();
        named.dedup();
        let mut whole = self.read(account, &mut work, named).await?;
        if !draft.creatives.is_empty() {
            // those that are not drafted may show what is published too
            let campaigns = self.store.list(account, Kind::Campaign, String::new(), None, Self::MANY).await?;
            whole &= take(&mut work, campaigns, vec![]);
        }
        let (mut faults, mut changes) = (Violations::new(), Vec::new());
        for (id, body) in &draft.campaigns {
            if body.is_none() && !work.has(&key(id)) {
                faults.push(campaign(id.as_str()), "unknown_reference", format!("there is no {}", key(id)));
                continue;
            }
            let laid = body.as_ref().map(|body| (work.version, body.clone()));
            work.documents.insert(key(id), laid);
            changes.push((key(id), body.clone()));
        }
        for (_, id) in &draft.creatives {
            if work.has(&DocumentKey::new(Kind::Creative, id.as_str())) {
                whole &= self.parts(account, &mut work, id).await?;
                whole &= self.read_beside(account, &mut work, id).await?;
            }
        }
        // of these no rule changes
        whole &= self.load_rules(account, &mut work, &DocumentKey::new(Kind::Campaign, "")).await?;
        if !whole {
            return Ok(None);
        }
        for (id, body) in draft.campaigns.iter().filter_map(|(id, body)| Some((id, body.as_ref()?))) {
            faults.keep(&campaign(id.as_str()), work.check(&key(id), body));
        }
        let beside = work.surroundings();
        for (at, id) in &draft.creatives {
            let next = work.next_number(id.as_str());
            let (now, under) = (self.clock.now(), format!("/publish/{at}"));
            let made = work.revision(id.as_str(), next, now, self.catalogue.public_url());
            if let Some((doc, creative)) = faults.keep(&under, made) {
                faults.extend_under(&under, beside.refusals(&creative, &doc, now));
                let publication = PublicationDoc { revision: next, status: PublicationStatus::Published };
                changes.push((DocumentKey::new(Kind::Revision, format!("{id}/{next}")), Some(json!(doc))));
                changes.push((DocumentKey::new(Kind::Publication, id.as_str()), Some(json!(publication))));
            }
        }
        Ok(Some((work, faults.into_vec(), changes)))
    }
}
