//! What a draft would change, by recorded decisions. Reads only: nothing is counted, kept or learned.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::sync::Semaphore;

use super::{
    archive::{Archive, ArchiveError},
    authoring::{
        Authoring, AuthoringError,
        drafted::{Draft, Drafted},
    },
    catalogue::Catalogue,
    world::Account,
};
use crate::{
    domain::{
        catalog::snapshot::Snapshot,
        decision::{
            record::Inputs,
            what_if::{Change, Compared, Held, Shown, Tally, Unfit, WhatIf},
        },
        ids::{CampaignId, DecisionId, PlacementId, SegmentKey},
        values::Millis,
    },
    ports::{Clock, DecisionRecord, StoreError},
};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The draft.
    pub draft: Draft,
    /// Only decisions on this registered placement.
    pub placement: Option<PlacementId>,
    /// First and last UTC day of the decisions, since 1970-01-01.
    pub days: RangeInclusive<i32>,
    /// Records that are read at most.
    pub limit: u32,
    /// Examples that are given at most.
    pub examples: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WhatIfError {
    /// The draft could not be written.
    #[error(transparent)]
    Draft(#[from] AuthoringError),
    /// Others are asking.
    #[error("other drafts are being looked at")]
    Busy,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An earlier catalogue cannot be had.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Deciding anew failed: a fault of this program.
    #[error("deciding anew ended early")]
    Ended,
}

/// What a draft would change.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = WhatIf)]
pub struct WhatIfReport {
    /// The catalogue version that the draft was laid upon.
    pub catalog_version: i64,
    /// Records that were read.
    pub records: u64,
    /// Whether these are all that there are; else there are older ones.
    pub complete: bool,
    /// When the oldest decision that was made anew was made; left out where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Millis>,
    /// Items that were decided anew, with the catalogue as it is and with the draft.
    pub decisions: u64,
    /// Records that could not be, and why.
    pub not_replayed: Vec<NotReplayed>,
    /// Items of which anything would change.
    pub changed: Portion,
    /// What would change most in each of them: each counts once.
    pub changes: Changes,
    /// What campaigns were shown, those with the largest difference first, at most 1,000.
    pub campaigns: Vec<CampaignShift>,
    /// Some of the items that would change, the newest first.
    pub examples: Vec<Example>,
}

/// A part of the items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Portion {
    /// How many.
    pub decisions: u64,
    /// Their share of all, 0 to 1; 0 where there are none.
    pub share: f64,
}

/// What would change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Changes {
    /// Something would be shown instead of nothing.
    pub filled: Portion,
    /// Nothing would be shown instead of something.
    pub unfilled: Portion,
    /// Another campaign would be shown, or a house creative instead of one.
    pub campaign: Portion,
    /// Another creative of the same campaign.
    pub creative: Portion,
    /// Other components of the same creative.
    pub components: Portion,
    /// The same components, of the revision that the draft would publish.
    pub revision: Portion,
}

/// Why a record could not be decided anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was a preview.
    Preview,
    /// It filled in what a bid had left open: the bid itself counts.
    RenderedLate,
    /// It cannot be read.
    Unreadable,
    /// Its catalogue cannot be had any more, or lies behind the 16 other versions that were looked at.
    Catalogue,
    /// It names a placement that is not registered any more.
    Placement,
    /// Targeting names traits that records of its time do not hold.
    Traits,
    /// Targeting asks about events that records of its time do not hold.
    Events,
    /// Targeting names segments that it does not hold.
    Segments,
}

/// Records that could not be decided anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NotReplayed {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub records: u64,
    /// The segments, where that is why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub segments: Vec<SegmentKey>,
}

/// How often a campaign was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CampaignShift {
    /// Which; null: none, but a house creative or nothing.
    #[schema(value_type = Option<String>)]
    pub campaign: Option<CampaignId>,
    /// By the catalogue as it is.
    pub before: u64,
    /// By the draft.
    pub after: u64,
}

/// An item that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Example {
    /// Its id, under which its record can be read.
    #[schema(value_type = String, format = Uuid)]
    pub decision_id: DecisionId,
    /// When it was decided.
    pub decided_at: Millis,
    /// What is shown by the catalogue as it is; null: nothing.
    pub before: Option<Shown>,
    /// What would be by the draft; null: nothing.
    pub after: Option<Shown>,
}

/// Tells what drafts would change.
#[derive(Clone)]
pub struct WhatIfs {
    archive: Archive,
    authoring: Authoring,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    seats: Arc<Semaphore>,
}

/// The inputs of a decision, or where they are.
#[derive(Deserialize)]
struct Body {
    inputs: Option<Inputs>,
    inputs_of: Option<IgnoredAny>,
}

/// Both catalogues, for whichever thread decides.
struct Sides {
    live: Arc<Account>,
    draft: Snapshot,
    campaigns: Vec<CampaignId>,
    placement: Option<PlacementId>,
    examples: usize,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    held: HashMap<i64, Option<Held>>,
    tally: Tally,
    unfit: BTreeMap<Unfit, u64>,
    campaigns: BTreeMap<Option<CampaignId>, (u64, u64)>,
    oldest: Option<Millis>,
    examples: Vec<Example>,
}

impl WhatIfs {
    /// Drafts that are looked at at a time: each has a processor for itself.
    const SEATS: usize = 2;
    /// Records in memory at a time.
    const PAGE: u32 = 100;
    /// Earlier catalogue versions that are compiled for one question.
    const VERSIONS: usize = 16;
    /// Campaigns that are listed.
    const CAMPAIGNS: usize = 1_000;

    /// On these decisions and documents.
    #[must_use]
    pub fn new(archive: Archive, authoring: Authoring, catalogue: Arc<Catalogue>, clock: Arc<dyn Clock>) -> Self {
        Self { archive, authoring, catalogue, clock, seats: Arc::new(Semaphore::new(Self::SEATS)) }
    }

    /// Decides recorded decisions of an account anew.
    ///
    /// # Errors
    /// See [`WhatIfError`].
    pub async fn ask(&self, account: u32, asked: Asked) -> Result<WhatIfReport, WhatIfError> {
        let _seat = self.seats.try_acquire().map_err(|_| WhatIfError::Busy)?;
        let Drafted { account: live, changes, campaigns } = self.authoring.drafted(account, &asked.draft).await?;
        let (base, url, now) = (Arc::clone(&live.snapshot), self.catalogue.public_url().to_owned(), self.clock.now());
        let evolve = move || base.evolve(base.version, changes, &url, now);
        let draft = tokio::task::spawn_blocking(evolve).await.map_err(|_| WhatIfError::Ended)?;
        let Asked { placement, examples, .. } = asked;
        let sides = Arc::new(Sides { live, draft, campaigns, placement, examples });
        let mut found = Found::default();
        let (mut left, mut before, mut complete) = (asked.limit, None, false);
        while left > 0 && !complete {
            let most = left.min(Self::PAGE);
            let page = self.archive.page(account, asked.days.clone(), before, most).await?;
            complete = page.len() < most as usize;
            before = page.last().map(|record| record.decision);
            left -= page.len() as u32;
            for record in &page {
                self.look_back(&sides.live, record.catalog_version, &mut found.held).await?;
            }
            let sides = Arc::clone(&sides);
            let decide = move || {
                page.iter().for_each(|record| found.take(&sides, record));
                found
            };
            found = tokio::task::spawn_blocking(decide).await.map_err(|_| WhatIfError::Ended)?;
        }
        Ok(found.report(sides.live.snapshot.version, u64::from(asked.limit - left), complete))
    }

    /// Finds out what records of a catalogue version hold.
    async fn look_back(
        &self,
        live: &Account,
        version: i64,
        held: &mut HashMap<i64, Option<Held>>,
    ) -> Result<(), ArchiveError> {
        if !held.contains_key(&version) {
            let of = if version == live.snapshot.version {
                Some(Held::by(&live.snapshot))
            } else if held.len() <= Self::VERSIONS {
                Some(Held::by(&*self.archive.snapshot(live, version).await?))
            } else {
                None
            };
            held.insert(version, of);
        }
        Ok(())
    }
}

impl Found {
    fn take(&mut self, sides: &Sides, record: &DecisionRecord) {
        let inputs = match serde_json::from_str(&record.body) {
            Ok(Body { inputs: Some(inputs), .. }) => Ok(inputs),
            // decided anew with the item whose record holds what went into both
            Ok(Body { inputs_of: Some(_), .. }) => return,
            _ => Err(Unfit::Unreadable),
        };
        let held = self.held.get(&record.catalog_version).and_then(Option::as_ref).ok_or(Unfit::Catalogue);
        let what_if = WhatIf {
            now: &sides.live.snapshot,
            draft: &sides.draft,
            learned: &sides.live.learned,
            drafted: &sides.campaigns,
        };
        let compared = inputs.and_then(|inputs| what_if.compare(&inputs, held?, sides.placement.as_ref()));
        match compared {
            Ok(items) => items.into_iter().for_each(|item| self.count(item, sides.examples)),
            Err(unfit) => *self.unfit.entry(unfit).or_default() += 1,
        }
    }

    fn count(&mut self, item: Compared, examples: usize) {
        let change = item.change();
        self.tally.count(change);
        self.oldest = Some(item.at);
        let campaign = |shown: &Option<Shown>| shown.as_ref().and_then(|shown| shown.campaign.clone());
        self.campaigns.entry(campaign(&item.before)).or_default().0 += 1;
        self.campaigns.entry(campaign(&item.after)).or_default().1 += 1;
        if change.is_some() && self.examples.len() < examples {
            let Compared { decision, at, before, after } = item;
            self.examples.push(Example { decision_id: decision, decided_at: at, before, after });
        }
    }

    fn report(self, catalog_version: i64, records: u64, complete: bool) -> WhatIfReport {
        let tally = self.tally;
        let portion = |decisions: u64| {
            let share = decisions as f64 / tally.decisions.max(1) as f64;
            Portion { decisions, share: (share * 10_000.0).round() / 10_000.0 }
        };
        let of = |change| portion(tally.of(change));
        let shifts = self.campaigns.into_iter();
        let mut campaigns: Vec<_> =
            shifts.map(|(campaign, (before, after))| CampaignShift { campaign, before, after }).collect();
        campaigns.sort_by_key(|shift| std::cmp::Reverse(shift.before.abs_diff(shift.after)));
        campaigns.truncate(WhatIfs::CAMPAIGNS);
        WhatIfReport {
            catalog_version,
            records,
            complete,
            oldest: self.oldest,
            decisions: tally.decisions,
            not_replayed: not_replayed(self.unfit),
            changed: portion(tally.changed()),
            changes: Changes {
                filled: of(Change::Filled),
                unfilled: of(Change::Unfilled),
                campaign: of(Change::Campaign),
                creative: of(Change::Creative),
                components: of(Change::Components),
                revision: of(Change::Revision),
            },
            campaigns,
            examples: self.examples,
        }
    }
}

fn not_replayed(unfit: BTreeMap<Unfit, u64>) -> Vec<NotReplayed> {
    let mut sums: BTreeMap<Reason, NotReplayed> = BTreeMap::new();
    for (unfit, records) in unfit {
        let (reason, segments) = match unfit {
            Unfit::Preview => (Reason::Preview, Vec::new()),
            Unfit::Rest => (Reason::RenderedLate, Vec::new()),
            Unfit::Unreadable => (Reason::Unreadable, Vec::new()),
            Unfit::Catalogue => (Reason::Catalogue, Vec::new()),
            Unfit::Placement => (Reason::Placement, Vec::new()),
            Unfit::Traits => (Reason::Traits, Vec::new()),
            Unfit::Events => (Reason::Events, Vec::new()),
            Unfit::Segments(segments) => (Reason::Segments, segments),
        };
        let sum = sums.entry(reason).or_insert_with(|| NotReplayed { reason, records: 0, segments: Vec::new() });
        sum.records += records;
        sum.segments.extend(segments);
        sum.segments.sort_unstable();
        sum.segments.dedup();
    }
    sums.into_values().collect()
}
