//! Decisions of the past: their records, explanations and replays.

use std::{ops::RangeInclusive, sync::Arc};

use moka::sync::Cache;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::{
    domain::{
        catalog::snapshot::Snapshot,
        decision::{
            answer::write_item,
            assemble::{Issuer, assemble},
            explanation::ItemExplanation,
            record::{Inputs, Recorded, ReplayError},
            request::Explain,
        },
        ids::{CampaignId, DecisionId},
        values::Json,
    },
    engine::{catalogue::Catalogue, world::Account},
    ports::{DecisionRecord, FoundRecord, OutcomeStore, StoreError, Tally},
};

/// Why a past decision cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Unknown, not sampled or past its retention.
    #[error("there is no record of this decision")]
    NotFound,
    /// The person it was about was erased.
    #[error("the person this decision was about was erased")]
    Erased,
    /// The record cannot be read.
    #[error("the record cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The decision cannot be made again.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The key that signed it is gone.
    #[error("the key that signed this decision is gone")]
    KeyGone,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Past decisions.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn OutcomeStore>,
    catalogue: Arc<Catalogue>,
    /// Catalogues of earlier versions that were asked for lately.
    versions: Cache<(u32, i64), Arc<Snapshot>>,
}

impl Archive {
    /// Past decisions of a store.
    #[must_use]
    pub fn new(store: Arc<dyn OutcomeStore>, catalogue: Arc<Catalogue>) -> Self {
        let versions = Cache::builder().max_capacity(4).time_to_idle(std::time::Duration::from_secs(300)).build();
        Self { store, catalogue, versions }
    }

    /// The record of a decision.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub async fn record(&self, account: &Account, id: DecisionId) -> Result<DecisionRecord, ArchiveError> {
        match self.store.find(account.number(), id).await? {
            FoundRecord::Kept(record) => Ok(*record),
            FoundRecord::Erased => Err(ArchiveError::Erased),
            FoundRecord::Absent => Err(ArchiveError::NotFound),
        }
    }

    /// What was counted of a campaign's decisions on some UTC days, by creative and kind.
    ///
    /// # Errors
    /// The store's.
    pub async fn tallies(
        &self,
        account: &Account,
        campaign: CampaignId,
        days: RangeInclusive<i32>,
    ) -> Result<Vec<Tally>, ArchiveError> {
        Ok(self.store.tallies(account.number(), campaign, days).await?)
    }

    /// The full explanation of a decision, from its recorded inputs.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub async fn explanation(&self, account: &Account, id: DecisionId) -> Result<ItemExplanation, ArchiveError> {
        let mut inputs = inputs(self.record(account, id).await?)?;
        inputs.request.explain = Explain::Full;
        let snapshot = self.snapshot(account, inputs.catalog_version).await?;
        let (decision, ..) = inputs.replay(&snapshot, id)?;
        let found = decision.explanation.into_iter().find(|explained| explained.decision_id == id);
        found.ok_or(ArchiveError::Replay(ReplayError::Decision))
    }

    /// Decides again from the recorded inputs; the item as it was sent.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub async fn replay(&self, account: &Account, id: DecisionId) -> Result<Box<RawValue>, ArchiveError> {
        let inputs = inputs(self.record(account, id).await?)?;
        let snapshot = self.snapshot(account, inputs.catalog_version).await?;
        let (decision, at, item) = inputs.replay(&snapshot, id)?;
        let item = &decision.placements[at][item];
        let world = self.catalogue.world();
        let keys = world.tokens.signing_with(inputs.signing_key).ok_or(ArchiveError::KeyGone)?;
        let issuer = Issuer { account: account.number(), keys: &keys, public_url: &inputs.public_url };
        let placement = &inputs.request.placements[at];
        let assembled = item
            .shown
            .as_ref()
            .map(|showing| assemble(item, showing, &inputs.request, placement, inputs.purposes, issuer));
        let mut json = Json::default();
        write_item(&mut json, item, assembled.as_ref(), &snapshot.rules);
        Ok(RawValue::from_string(json.into_text())?)
    }

    /// The catalogue of an account as it was at a version.
    ///
    /// # Errors
    /// The store's.
    pub async fn snapshot(&self, account: &Account, version: i64) -> Result<Arc<Snapshot>, ArchiveError> {
        if account.snapshot.version == version {
            return Ok(Arc::clone(&account.snapshot));
        }
        let key = (account.number(), version);
        if let Some(known) = self.versions.get(&key) {
            return Ok(known);
        }
        let snapshot = self.catalogue.at(account.number(), version).await?;
        self.versions.insert(key, Arc::clone(&snapshot));
        Ok(snapshot)
    }
}

fn inputs(record: DecisionRecord) -> Result<Inputs, serde_json::Error> {
    serde_json::from_str::<Recorded<Inputs, IgnoredAny>>(&record.body).map(|recorded| recorded.inputs)
}
