//! What there is to learn about, and what decisions are given of it.

use std::{collections::BTreeMap, sync::Arc};

use super::{Knowledge, Known, Unreadable};
use crate::{
    domain::{
        catalog::{campaign::Campaign, creative::Creative, document::Rotation, snapshot::Snapshot as Catalog},
        decision::learned::Learner,
        ids::NameHash,
        optimizer::{Posterior, Settings, Snapshot},
    },
    engine::world::{Account, World},
    ports::{LearnedRow, Subject},
};

/// A creative within a campaign, as the catalogue has it.
pub(super) struct Line {
    pub(super) account: Arc<Account>,
    pub(super) campaign: Arc<Campaign>,
    pub(super) creative: Arc<Creative>,
}

impl Line {
    pub(super) fn snapshot(&self) -> &Catalog {
        &self.account.snapshot
    }

    pub(super) fn chooses(&self) -> bool {
        self.campaign.rotation == Rotation::Optimized
    }
}

pub(super) fn subjects(world: &World) -> BTreeMap<Subject, Line> {
    let mut all = BTreeMap::new();
    for account in world.accounts() {
        for line in &account.snapshot.lines {
            for creative in &line.creatives {
                let subject = Subject {
                    account: account.number(),
                    campaign: line.campaign.id.clone(),
                    creative: creative.id.clone(),
                };
                let line = Line {
                    account: Arc::clone(account),
                    campaign: Arc::clone(&line.campaign),
                    creative: Arc::clone(creative),
                };
                all.insert(subject, line);
            }
        }
    }
    all
}

/// Makes ready what a row says.
pub(super) fn make(subject: &Subject, row: LearnedRow, chooses: bool, base_rate: f64) -> Result<Known, Unreadable> {
    let Knowledge { shape, statistics, .. } = Knowledge::read(&row.body)?;
    let total = statistics.total();
    let version = row.version.unsigned_abs();
    let draws = chooses.then(|| {
        // rounded, so that replicas that know a little more of other creatives draw the same
        let settings = Settings { base_rate: (base_rate * 100.0).round().max(1.0) / 100.0, ..Settings::default() };
        let posterior = Posterior::new(&statistics, &settings);
        let creative =
            NameHash::of(subject.campaign.as_str()).0 ^ NameHash::of(subject.creative.as_str()).0.rotate_left(1);
        Snapshot::new(creative, version, &posterior, &statistics, &settings)
    });
    let learner = Arc::new(Learner::new(shape.clone(), version, draws));
    Ok(Known { row, shape, learner, chooses, rewarded: total.rewarded, shown: total.shown })
}
