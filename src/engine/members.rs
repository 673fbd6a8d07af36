//! Members of segments: uploads to static ones, of any number of people with few of them in memory,
//! and those whom a rule puts in.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

use super::{
    people::{PeopleError, must_be_static},
    transitions::Transitions,
    unpack::unpack,
    users::Users,
    world::Account,
};
use crate::{
    domain::{
        audience::{
            compile::SegmentIx,
            context::Context,
            evaluate::{Evaluator, UserView},
            transition::resting_on,
        },
        ids::{SegmentKey, Uid, UserKey},
        values::Millis,
    },
    ports::{CrowdRow, CrowdStore, ListUpload, Moved, UploadMode, UploadRow},
};

/// Takes uploads to static segments.
#[derive(Clone)]
pub struct Members {
    store: Arc<dyn CrowdStore>,
    users: Users,
    transitions: Transitions,
    /// Uploads at a time: each has a connection of its own.
    turns: Arc<Semaphore>,
}

/// An upload under way.
pub struct Upload {
    account: Arc<Account>,
    list: SegmentKey,
    users: Users,
    transitions: Transitions,
    upload: Box<dyn ListUpload>,
    rows: Vec<UploadRow>,
    _turn: OwnedSemaphorePermit,
}

impl Members {
    /// Uploads at a time on this replica.
    const TURNS: usize = 2;
    /// How long one waits for its turn.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Uploads into a store; caches behind `users` learn of changes at once, followers of
    /// `transitions` soon after.
    #[must_use]
    pub fn new(store: Arc<dyn CrowdStore>, users: Users, transitions: Transitions) -> Self {
        Self { store, users, transitions, turns: Arc::new(Semaphore::new(Self::TURNS)) }
    }

    /// Begins an upload. Nothing changes before [`Upload::apply`].
    ///
    /// # Errors
    /// The segment is unknown or has a rule; others upload already; the store's.
    pub async fn begin(
        &self,
        account: &Arc<Account>,
        segment: &SegmentKey,
        mode: UploadMode,
    ) -> Result<Upload, PeopleError> {
        must_be_static(account, segment)?;
        let turn = time::timeout(Self::PATIENCE, Arc::clone(&self.turns).acquire_owned());
        let Ok(Ok(turn)) = turn.await else { return Err(PeopleError::Busy) };
        let upload = self.store.upload(account.number(), segment.clone(), mode).await?;
        Ok(Upload {
            account: Arc::clone(account),
            list: segment.clone(),
            users: self.users.clone(),
            transitions: self.transitions.clone(),
            upload,
            rows: Vec::with_capacity(Upload::BATCH),
            _turn: turn,
        })
    }
}

/// A page of those whom a rule puts in.
pub struct RulePage {
    /// The people, in the order of their uid.
    pub people: Vec<RuleMember>,
    /// The last person who was asked, where there are more.
    pub next: Option<Uid>,
}

/// Somebody whom a rule puts in.
pub struct RuleMember {
    /// The account's own name of them.
    pub key: UserKey,
    /// Since when, if that is known.
    pub since: Option<Millis>,
    /// When time alone may end it.
    pub valid_until: Option<Millis>,
}

impl Members {
    /// People asked for one page at most.
    const ASKED: u32 = 20_000;
    /// People read at a time.
    const READ: u32 = 1_000;

    /// People whom the rule of a segment puts in now, after one, at most `limit`. A page may be
    /// short, or empty, and have more behind it: so many people are asked and no more. Those known
    /// from impressions alone have no name and are left out.
    ///
    /// # Errors
    /// The store's.
    pub async fn of_rule(
        &self,
        account: &Arc<Account>,
        ix: SegmentIx,
        mut after: Option<Uid>,
        limit: u32,
        now: Millis,
    ) -> Result<RulePage, PeopleError> {
        let (mut people, limit) = (Vec::new(), limit as usize);
        for _ in 0..Self::ASKED / Self::READ {
            let rows = self.store.scan(account.number(), after, Self::READ).await?;
            let (more, last, wanted) =
                (rows.len() == Self::READ as usize, rows.last().map(|row| row.uid), limit - people.len());
            let account = Arc::clone(account);
            let work = tokio::task::spawn_blocking(move || ask(&account, ix, rows, wanted, now));
            let (found, stopped) = work.await.map_err(|_| PeopleError::Contended)??;
            people.extend(found);
            if stopped.is_some() || !more || people.len() == limit {
                return Ok(RulePage { people, next: stopped.or(last.filter(|_| more)) });
            }
            after = last;
        }
        Ok(RulePage { people, next: after })
    }
}

/// Those among `rows` who are in, at most `wanted`; and who was asked last, where somebody was not.
fn ask(
    account: &Account,
    ix: SegmentIx,
    rows: Vec<CrowdRow>,
    wanted: usize,
    now: Millis,
) -> Result<(Vec<RuleMember>, Option<Uid>), PeopleError> {
    let (context, mut found, mut last) = (Context::default(), Vec::new(), None);
    for row in rows {
        if found.len() == wanted {
            return Ok((found, last));
        }
        last = Some(row.uid);
        let (Some(key), state) = (row.key, unpack(row.row)?) else { continue };
        let view = UserView { uid: Some(row.uid), state: Some(&state), ..UserView::default() };
        let verdict = Evaluator::new(&account.snapshot.rules, view, &context, now).thorough().segment(ix);
        if verdict.holds() {
            found.push(RuleMember { key, since: verdict.since(), valid_until: verdict.valid_until() });
        }
    }
    Ok((found, None))
}

impl Upload {
    /// People kept in memory.
    const BATCH: usize = 10_000;

    /// Takes one more person. Of several rows about the same one the last counts.
    ///
    /// # Errors
    /// The store's.
    pub async fn push(&mut self, key: UserKey, expires_at: Option<Millis>) -> Result<(), PeopleError> {
        self.rows.push(UploadRow { uid: self.account.uid(&key), key, expires_at });
        if self.rows.len() >= Self::BATCH { self.flush().await } else { Ok(()) }
    }

    /// How many memberships the upload would change.
    ///
    /// # Errors
    /// The store's.
    pub async fn survey(mut self) -> Result<u64, PeopleError> {
        self.flush().await?;
        Ok(self.upload.survey().await?)
    }

    /// Changes the list; answers how many memberships changed. Runs to its end even when the
    /// caller has left.
    ///
    /// # Errors
    /// The store's; what was changed before stays so, and repeating the upload is safe.
    pub async fn apply(mut self) -> Result<u64, PeopleError> {
        let work = tokio::spawn(async move {
            self.flush().await?;
            let others: Arc<[SegmentKey]> = resting_on(&self.list, self.account.snapshot.segments()).into();
            let mut changed = 0;
            while let Some(step) = self.upload.step().await? {
                let Moved { changed: count, crossed } = step.moved;
                changed += count;
                if count > 0 {
                    self.users.on_lists(self.account.number(), step.from, step.upto);
                }
                self.transitions.listed(self.account.number(), &self.list, &others, crossed).await;
            }
            Ok(changed)
        });
        work.await.unwrap_or(Err(PeopleError::Contended))
    }

    async fn flush(&mut self) -> Result<(), PeopleError> {
        let rows = std::mem::replace(&mut self.rows, Vec::with_capacity(Self::BATCH));
        if rows.is_empty() { Ok(()) } else { Ok(self.upload.stage(rows).await?) }
    }
}
