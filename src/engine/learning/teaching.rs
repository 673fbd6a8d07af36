//! Gives decisions what was learned, and those who judge it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use tokio::time::Instant;

use super::{
    Knowledge, Known, Learning, Shared, State,
    idle::draws,
    lines::{base_rate, make},
};
use crate::{
    domain::{
        decision::learned::{Learned, Learner},
        ids::{CampaignId, CreativeId, NameHash},
    },
    ports::{LearnedRow, LearnedVersion, StoreError, Subject},
};

/// Makes ready what a row says, beside the threads that answer requests.
async fn ready(
    subject: Subject,
    row: Arc<LearnedRow>,
    how: (bool, Option<Instant>),
    base_rate: f64,
    before: Option<Arc<Learner>>,
) -> Option<(Subject, Known)> {
    let make = move || (make(&subject, row, how, base_rate, before.as_deref()), subject);
    match tokio::task::spawn_blocking(make).await {
        Ok((Ok(made), subject)) => return Some((subject, made)),
        Ok((Err(error), subject)) => {
            tracing::error!(%error, campaign = %subject.campaign, "this campaign chooses without what was learned");
        }
        Err(error) => tracing::error!(%error, "what was learned cannot be made ready"),
    }
    None
}

impl Shared {
    /// Makes ready what rows say; decisions are given it by [`Self::publish`].
    pub(super) async fn take_up(&self, state: &mut State, rows: Vec<(Subject, Arc<LearnedRow>)>) {
        let State { known, lines, untold, .. } = state;
        for (subject, row) in rows {
            let (chooses, base_rate) = (lines.chooses(&subject), base_rate(known, subject.account));
            let before = known.get(&subject).map(|known| Arc::clone(&known.learner));
            let used = known.get(&subject).and_then(|known| known.used_lately(Instant::now()));
            if let Some((subject, made)) = ready(subject, row, (chooses, used), base_rate, before).await {
                untold.insert(subject.account);
                known.insert(subject, made);
            }
        }
    }

    /// Takes up what was learned since it was last asked for, here or elsewhere, and gives it to decisions.
    pub(super) async fn catch_up(&self, state: &mut State) -> Result<(), StoreError> {
        let State { known, looked, stale, .. } = &mut *state;
        let news = self.store.versions(looked.since()).await?;
        let changed =
            |one: &&LearnedVersion| known.get(&one.subject).is_none_or(|known| known.row.version != one.version);
        stale.extend(news.iter().filter(changed).map(|one| one.subject.clone()));
        looked.saw(&news);
        if !stale.is_empty() {
            let rows = self.known(stale.iter().cloned().collect()).await?;
            state.unkept |= !rows.is_empty();
            self.take_up(state, rows).await;
            state.stale.clear();
        }
        self.publish(state).await;
        Ok(())
    }

    /// Gives decisions what is known, those of the accounts of which that has changed.
    pub(super) async fn publish(&self, State { known, untold, .. }: &mut State) {
        while let Some(account) = untold.first().copied() {
            let own = known.iter().filter(|(subject, _)| subject.account == account);
            let own: HashMap<_, _> = own.map(|(subject, known)| (subject.clone(), known.clone())).collect();
            let learner = |(subject, known): (&Subject, &Known)| {
                let names = (NameHash::of(subject.campaign.as_str()), NameHash::of(subject.creative.as_str()));
                (names, Arc::clone(&known.learner))
            };
            self.catalogue.teach(account, Arc::new(own.iter().map(learner).collect::<Learned>())).await;
            self.given.lock().unwrap_or_else(PoisonError::into_inner).insert(account, Arc::new(own));
            untold.remove(&account);
        }
    }

    /// What an account's decisions were given last.
    fn given(&self, account: u32) -> Arc<HashMap<Subject, Known>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).get(&account).cloned().unwrap_or_default()
    }
}

impl Learning {
    /// What is known of a campaign's creatives.
    #[must_use]
    pub fn of_campaign(&self, account: u32, campaign: &CampaignId) -> Vec<(Subject, Knowledge)> {
        let given = self.0.given(account);
        let own = given.iter().filter(|(subject, _)| subject.campaign == *campaign);
        let mut own: Vec<_> = own
            .filter_map(|(subject, known)| Some((subject.clone(), Knowledge::read(&known.row.body).ok()?)))
            .collect();
        own.sort_by(|a, b| a.0.cmp(&b.0));
        own
    }

    /// What decisions choose by for each creative of a campaign, with all draws: where they have few, the same
    /// with more.
    pub async fn whole(&self, account: u32, campaign: &CampaignId) -> HashMap<CreativeId, Arc<Learner>> {
        let (given, now) = (self.0.given(account), Some(Instant::now()));
        let (base_rate, mut whole) = (base_rate(&given, account), HashMap::new());
        for (subject, known) in given.iter().filter(|(subject, _)| subject.campaign == *campaign) {
            let mut learner = Arc::clone(&known.learner);
            if known.members().is_some_and(|members| members != draws(now)) {
                // what this works out is nothing for decisions to keep
                if let Some((_, made)) =
                    ready(subject.clone(), Arc::clone(&known.row), (true, now), base_rate, None).await
                {
                    learner = made.learner;
                }
            }
            whole.insert(subject.creative.clone(), learner);
        }
        whole
    }
}
