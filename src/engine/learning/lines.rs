//! What there is to learn about, and what decisions are given of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::time::Instant;

use super::{Knowledge, Known, Unreadable, idle::draws};
use crate::{
    domain::{
        catalog::{campaign::Campaign, creative::Creative, document::Rotation, snapshot::Snapshot as Catalog},
        decision::learned::Learner,
        ids::NameHash,
        optimizer::{Lore, Posterior, Settings, Snapshot},
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
}

/// All there is to learn about, listed anew only where a catalogue has changed.
#[derive(Default)]
pub(super) struct Lines {
    accounts: BTreeMap<u32, Arc<Account>>,
    all: BTreeMap<Subject, Line>,
    /// Those whose numbers may lack something that their creative shows.
    pub(super) open: BTreeSet<Subject>,
}

impl Lines {
    /// Follows the catalogues.
    pub(super) fn follow(&mut self, world: &World) {
        let same = |account: &Arc<Account>| {
            let before = self.accounts.get(&account.number());
            before.is_some_and(|before| Arc::ptr_eq(&before.snapshot, &account.snapshot))
        };
        let changed: Vec<_> = world.accounts().filter(|account| !same(account)).cloned().collect();
        for account in changed {
            let number = account.number();
            self.all.retain(|subject, _| subject.account != number);
            self.open.retain(|subject| subject.account != number);
            for line in &account.snapshot.lines {
                for creative in &line.creatives {
                    let subject =
                        Subject { account: number, campaign: line.campaign.id.clone(), creative: creative.id.clone() };
                    let line = Line {
                        account: Arc::clone(&account),
                        campaign: Arc::clone(&line.campaign),
                        creative: Arc::clone(creative),
                    };
                    self.open.insert(subject.clone());
                    self.all.insert(subject, line);
                }
            }
            self.accounts.insert(number, account);
        }
    }

    /// A creative within a campaign, if there is one.
    pub(super) fn get(&self, subject: &Subject) -> Option<&Line> {
        self.all.get(subject)
    }

    /// Whether decisions choose by what is learned of it.
    pub(super) fn chooses(&self, subject: &Subject) -> bool {
        self.get(subject).is_some_and(|line| line.campaign.rotation == Rotation::Optimized)
    }
}

/// The rate of rewards over all that is known of an account, which is what a new creative may expect.
pub(super) fn base_rate(known: &HashMap<Subject, Known>, account: u32) -> f64 {
    let own = known.iter().filter(|(subject, _)| subject.account == account);
    let (rewarded, shown) = own.fold((0.0, 0), |sum, (_, one)| (sum.0 + one.rewarded, sum.1 + one.shown));
    // as if a thousand impressions with the usual rate had been seen before
    (rewarded + 1_000.0 * Settings::default().base_rate) / (shown as f64 + 1_000.0)
}

/// Makes ready what a row says.
pub(super) fn make(
    subject: &Subject,
    row: Arc<LearnedRow>,
    (chooses, used): (bool, Option<Instant>),
    base_rate: f64,
    before: Option<&Learner>,
) -> Result<Known, Unreadable> {
    let Knowledge { shape, lore: Lore { statistics, .. }, goal, .. } = Knowledge::read(&row.body)?;
    let total = statistics.total();
    let version = row.version.unsigned_abs();
    let drawn = chooses.then(|| {
        // rounded, so that replicas that know a little more of other creatives draw the same
        let base_rate = (base_rate * 100.0).round().max(1.0) / 100.0;
        let settings = Settings { base_rate, members: draws(used), ..Settings::default() };
        let posterior = Posterior::new(&statistics, &settings);
        let creative =
            NameHash::of(subject.campaign.as_str()).0 ^ NameHash::of(subject.creative.as_str()).0.rotate_left(1);
        Snapshot::new(creative, version, &posterior, &statistics, &settings)
    });
    let learner = Learner::new(shape, version, drawn);
    // what was worked out goes with the draws
    let learner = Arc::new(match before.filter(|_| used.is_some()) {
        Some(before) => learner.after(before),
        None => learner,
    });
    Ok(Known { row, goal, learner, chooses, used, rewarded: total.value, shown: total.shown })
}
