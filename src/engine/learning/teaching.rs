//! Gives decisions what was learned.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use tokio::time;

use super::{
    Known, Shared,
    lines::{Lines, base_rate, make},
};
use crate::{
    domain::{decision::learned::Learned, ids::NameHash},
    ports::{LearnedRow, Subject},
};

impl Shared {
    /// Makes ready what rows say.
    pub(super) async fn take_up(
        &self,
        known: &mut HashMap<Subject, Known>,
        lines: &Lines,
        rows: Vec<(Subject, LearnedRow)>,
    ) {
        for (subject, row) in rows {
            let (chooses, base_rate) = (lines.chooses(&subject), base_rate(known, subject.account));
            let before = known.get(&subject).map(|known| Arc::clone(&known.learner));
            let used = known.get(&subject).and_then(|known| known.used_lately(time::Instant::now()));
            let make = move || (make(&subject, row, (chooses, used), base_rate, before.as_deref()), subject);
            match tokio::task::spawn_blocking(make).await {
                Ok((Ok(made), subject)) => {
                    known.insert(subject, made);
                }
                Ok((Err(error), subject)) => {
                    tracing::error!(%error, campaign = %subject.campaign, "this campaign chooses without what was learned");
                }
                Err(error) => tracing::error!(%error, "what was learned cannot be made ready"),
            }
        }
    }

    /// Gives the decisions of some accounts what is known.
    pub(super) async fn publish(&self, known: &HashMap<Subject, Known>, accounts: BTreeSet<u32>) {
        for account in accounts {
            let own = known.iter().filter(|(subject, _)| subject.account == account);
            let learner = |(subject, known): (&Subject, &Known)| {
                let names = (NameHash::of(subject.campaign.as_str()), NameHash::of(subject.creative.as_str()));
                (names, Arc::clone(&known.learner))
            };
            self.catalogue.teach(account, Arc::new(own.map(learner).collect::<Learned>())).await;
        }
    }
}
