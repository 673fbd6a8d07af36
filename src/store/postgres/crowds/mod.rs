//! Many people at once.

mod moves;

use std::{fmt::Write as _, sync::Arc};

use sqlx::{Connection, Error, PgConnection, Row, postgres::PgConnectOptions, query, query_scalar};
use tokio::{sync::Mutex, time::timeout};

use self::moves::{ALONE, ENTER, GO, LEAVE, MEET, SURVEY_ENTER, SURVEY_GO, SURVEY_LEAVE};
pub(super) use self::moves::{BESIDE, CHANGE};
use super::{Lane, Lanes, UPLOAD_LIMIT, changes::tell_lists, detached, dial, limited};
use crate::{
    domain::ids::{NameHash, SegmentKey, Uid},
    ports::{Answer, CrowdRow, CrowdStore, ListUpload, Moved, StoreError, UploadMode, UploadRow, UploadStep},
    store::rows,
};

/// See [`CrowdStore`].
pub(in crate::store) struct Crowds {
    admin: Lane,
    ingest: Lane,
    connect: PgConnectOptions,
}

impl Crowds {
    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        let connect = limited(lanes.by_key.clone(), UPLOAD_LIMIT).options([
            ("work_mem", "64MB"),
            ("maintenance_work_mem", "128MB"),
            ("temp_buffers", "32MB"),
        ]);
        Self { admin: lanes.admin.clone(), ingest: lanes.ingest.clone(), connect }
    }
}

const SCAN: &str = "
    select p.account, p.uid, p.key, p.version, p.packed, p.caps, p.merged_into, m.lists, m.expiries, m.since
    from profile p
    left join lateral (
        select array_agg(l.list) as lists, array_agg(l.expires_at) as expiries, array_agg(l.added_at) as since
        from list_member l where l.account = p.account and l.uid = p.uid
    ) m on true
    where p.account = $1 and p.uid > $2 and p.erased_at is null and p.merged_into is null
    order by p.uid limit $3";

/// The limit makes it a look-up for each person.
const PEOPLE: &str = "
    select p.account, p.uid, p.key, p.version, p.packed, p.caps, p.merged_into, m.lists, m.expiries, m.since
    from unnest($2::uuid[]) k (uid)
    cross join lateral (
        select * from profile
        where account = $1 and uid = k.uid and erased_at is null and merged_into is null limit 1
    ) p
    left join lateral (
        select array_agg(l.list) as lists, array_agg(l.expires_at) as expiries, array_agg(l.added_at) as since
        from list_member l where l.account = p.account and l.uid = p.uid
    ) m on true";

impl CrowdStore for Crowds {
    fn upload(&self, account: u32, list: SegmentKey, mode: UploadMode) -> Answer<'_, Box<dyn ListUpload>> {
        let connect = self.connect.clone();
        detached(async move {
            let mut link = dial(&connect).await?;
            let staging = "create temp table staged (n bigint, uid uuid, key text, expires_at bigint)";
            query(staging).execute(&mut link).await?;
            // A list is walked along its index: a bitmap would gather all that is left of it, at every step.
            query("set enable_bitmapscan = off").execute(&mut link).await?;
            let job =
                Job { link, account: account.cast_signed(), list, mode, staged: 0, sorted: false, next: Some(Uid(0)) };
            Ok(Box::new(Upload(Arc::new(Mutex::new(Some(job))))) as Box<dyn ListUpload>)
        })
    }

    fn scan(&self, account: u32, after: Option<Uid>, limit: u32) -> Answer<'_, Vec<CrowdRow>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                // Nobody's uid is zero: it is a hash.
                let rows = query(SCAN)
                    .bind(account.cast_signed())
                    .bind(after.unwrap_or(Uid(0)).as_uuid())
                    .bind(i64::from(limit))
                    .fetch_all(connection)
                    .await?;
                rows.iter().map(rows::crowd).collect()
            })
        })
    }

    fn people(&self, account: u32, uids: Vec<Uid>) -> Answer<'_, Vec<CrowdRow>> {
        // what is told of people is not to wait for what people read
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let uids: Vec<_> = uids.into_iter().map(Uid::as_uuid).collect();
                let rows = query(PEOPLE).bind(account.cast_signed()).bind(uids).fetch_all(connection).await?;
                rows.iter().map(rows::crowd).collect()
            })
        })
    }

    fn trait_names(&self, account: u32, upto: Uid) -> Answer<'_, Vec<String>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query_scalar(
                    "select distinct name from profile p, json_object_keys(p.traits) name
                     where p.account = $1 and p.uid <= $2 order by name limit 10000",
                )
                .bind(account.cast_signed())
                .bind(upto.as_uuid())
                .fetch_all(connection)
                .await
            })
        })
    }
}

/// An upload. A call takes the job out and puts it back when all went well, so that one that was
/// given up half way closes its connection and ends the upload.
struct Upload(Arc<Mutex<Option<Job>>>);

/// A connection with what was uploaded in a table of its own.
struct Job {
    link: PgConnection,
    account: i32,
    list: SegmentKey,
    mode: UploadMode,
    staged: i64,
    sorted: bool,
    /// From whom the next step goes on.
    next: Option<Uid>,
}

/// Runs a call on the job in a task of its own, within the limit.
macro_rules! on_job {
    ($upload:expr, $job:ident => $work:expr) => {{
        let upload = Arc::clone(&$upload.0);
        detached(async move {
            let mut upload = upload.lock().await;
            let mut taken = upload.take().ok_or_else(|| StoreError::Unavailable("the upload has failed".into()))?;
            let $job = &mut taken;
            let done = timeout(UPLOAD_LIMIT, async { $work });
            let done: Result<_, Error> = done.await.map_err(|_| StoreError::Timeout("no answer in time".into()))?;
            let done = done?;
            *upload = Some(taken);
            Ok(done)
        })
    }};
}

impl ListUpload for Upload {
    fn stage(&mut self, rows: Vec<UploadRow>) -> Answer<'_, ()> {
        on_job!(self, job => job.stage(&rows).await)
    }

    fn survey(&mut self) -> Answer<'_, u64> {
        on_job!(self, job => job.survey().await)
    }

    fn step(&mut self) -> Answer<'_, Option<UploadStep>> {
        on_job!(self, job => job.step().await)
    }
}

impl Job {
    /// People touched in one transaction: those who read the feed read again all that was written
    /// since the oldest open transaction, so none may be open for long.
    const STEP: i64 = 1_000;

    async fn stage(&mut self, rows: &[UploadRow]) -> Result<(), Error> {
        let mut lines = String::with_capacity(rows.len() * 80);
        for row in rows {
            self.staged += 1;
            // Writing to a string cannot fail. Keys hold no control characters, so only the
            // backslash has a meaning of its own.
            let _ =
                write!(lines, "{}\t{}\t{}\t", self.staged, row.uid.as_uuid(), row.key.as_str().replace('\\', "\\\\"));
            let _ = match row.expires_at {
                Some(at) => writeln!(lines, "{}", at.0),
                None => writeln!(lines, "\\N"),
            };
        }
        let mut copy = self.link.copy_in_raw("copy staged from stdin").await?;
        copy.send(lines.as_bytes()).await?;
        copy.finish().await?;
        Ok(())
    }

    /// The order of the uids is that of all writers, so that they never wait in a circle.
    async fn sort(&mut self) -> Result<(), Error> {
        if !self.sorted {
            query("create index on staged (uid, n)").execute(&mut self.link).await?;
            query("analyze staged").execute(&mut self.link).await?;
            self.sorted = true;
            self.follow().await?;
        }
        Ok(())
    }

    /// Has keys that were merged stand for the people they lead to; whether there were any. There
    /// are few of them beside those uploaded.
    async fn follow(&mut self) -> Result<bool, Error> {
        let followed = query(
            "with led as materialized (
                 select uid, merged_into from profile where account = $1 and merged_into is not null)
             update staged s set uid = l.merged_into from led l where s.uid = l.uid",
        )
        .bind(self.account)
        .execute(&mut self.link)
        .await?;
        Ok(followed.rows_affected() > 0)
    }

    async fn survey(&mut self) -> Result<u64, Error> {
        self.sort().await?;
        let counts: &[&'static str] = match self.mode {
            UploadMode::Add => &[SURVEY_ENTER],
            UploadMode::Remove => &[SURVEY_LEAVE],
            UploadMode::Replace => &[SURVEY_ENTER, SURVEY_GO],
        };
        let mut changes = 0;
        for count in counts {
            let counted: i64 = query_scalar(*count)
                .bind(self.account)
                .bind(Uid(0).as_uuid())
                .bind(Uid(u128::MAX).as_uuid())
                .bind(hash(&self.list))
                .fetch_one(&mut self.link)
                .await?;
            changes += counted.unsigned_abs();
        }
        Ok(changes)
    }

    async fn step(&mut self) -> Result<Option<UploadStep>, Error> {
        self.sort().await?;
        // Those merged since are met in another round, which leaves all others as they are.
        let round = self.next;
        let Some(from) = (if round.is_none() && self.follow().await? { Some(Uid(0)) } else { round }) else {
            return Ok(None);
        };
        let upto = self.reach(from).await?;
        let mut tries = 0;
        // whoever is met for the first time and merged at once may have the two wait for each other
        let moved = loop {
            if let Some(end) = super::settled(self.change(from, upto).await.map(Some), &mut tries) {
                break end?;
            }
        };
        self.next = upto.0.checked_add(1).map(Uid);
        Ok(Some(UploadStep { moved, from, upto }))
    }

    /// How far the step from a person on may go, by those uploaded and by those on the list.
    async fn reach(&mut self, from: Uid) -> Result<Uid, Error> {
        let row = query(
            "select (select uid from staged where uid >= $1 order by uid, n offset $2 limit 1) as staged,
                    (select uid from list_member where $5 and account = $3 and list = $4 and uid >= $1
                     order by uid offset $2 limit 1) as listed",
        )
        .bind(from.as_uuid())
        .bind(Self::STEP - 1)
        .bind(self.account)
        .bind(hash(&self.list))
        .bind(self.mode == UploadMode::Replace)
        .fetch_one(&mut self.link)
        .await?;
        let staged: Option<sqlx::types::Uuid> = row.try_get("staged")?;
        let listed: Option<sqlx::types::Uuid> = row.try_get("listed")?;
        Ok(staged.into_iter().chain(listed).min().map_or(Uid(u128::MAX), Uid::from))
    }

    async fn change(&mut self, from: Uid, upto: Uid) -> Result<Moved, Error> {
        let (account, list) = (self.account, hash(&self.list));
        let mut tx = self.link.begin().await?;
        query(super::identity::WRITE_ABOUT_PEOPLE).execute(&mut *tx).await?;
        let mut moved = Moved::default();
        query(ALONE).bind(account).bind(list).execute(&mut *tx).await?;
        let statements: &[&'static str] = match self.mode {
            UploadMode::Add => &[ENTER],
            UploadMode::Remove => &[LEAVE],
            UploadMode::Replace => &[ENTER, GO],
        };
        if self.mode != UploadMode::Remove {
            query("insert into list (account, list, name) values ($1, $2, $3) on conflict do nothing")
                .bind(account)
                .bind(list)
                .bind(self.list.as_str())
                .execute(&mut *tx)
                .await?;
            query(MEET).bind(account).bind(from.as_uuid()).bind(upto.as_uuid()).execute(&mut *tx).await?;
        }
        for statement in statements {
            let statement = query(*statement).bind(account).bind(from.as_uuid()).bind(upto.as_uuid()).bind(list);
            let rows = statement.bind(self.list.as_str()).fetch_all(&mut *tx).await?;
            let step = rows::moved(&rows)?;
            moved.changed += step.changed;
            moved.crossed.extend(step.crossed);
        }
        if moved.changed > 0 {
            tell_lists(&mut tx, account, from.as_uuid(), upto.as_uuid()).await?;
        }
        tx.commit().await?;
        Ok(moved)
    }
}

fn hash(list: &SegmentKey) -> i64 {
    NameHash::of(list.as_str()).0.cast_signed()
}
