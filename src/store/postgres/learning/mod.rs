//! What is learned and counted of creatives.

mod counts;
mod log;
mod packing;

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{Connection, Error, PgConnection, Row, postgres::PgRow, query, query_scalar, types::Json};

pub(super) use self::{counts::count_repeats, log::leave};
use self::{
    counts::{count_combinations, count_features, repeated},
    log::{log, logged},
    packing::{arm, choice, counts, learned, lesson, subject},
};
use super::{
    Lane, Lanes, attribution,
    units::{count_shown, count_units, sides},
};
use crate::{
    domain::{
        ids::{CampaignId, CreativeId},
        measurement::attribution::Unattributed,
        values::Millis,
    },
    ports::{
        Answer, CombinationCell, FeatureCell, Learn, Learned, LearnedBody, LearnedRow, LearnedVersion, LearningStore,
        LogQuery, LogRead, LoggedDecision, Measured, Sides, StoreError, Subject, Unit,
    },
    store::rows,
};

macro_rules! column {
    ($rows:expr, $value:expr) => {
        $rows.iter().map($value).collect::<Vec<_>>()
    };
}
use column;

/// See [`LearningStore`].
pub(in crate::store) struct Learning {
    ingest: Lane,
    admin: Lane,
}

impl Learning {
    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        Self { ingest: lanes.ingest.clone(), admin: lanes.admin.clone() }
    }
}

/// How long the decision log is kept, in days of the decision.
const LOG_DAYS: i32 = 30;

impl LearningStore for Learning {
    fn waiting(&self) -> Answer<'_, Vec<Subject>> {
        self.ingest.run(|connection| {
            Box::pin(async move {
                let rows =
                    query("select distinct account, campaign, creative from lesson").fetch_all(connection).await?;
                rows.iter().map(subject).collect()
            })
        })
    }

    fn settle(&self, now: Millis) -> Answer<'_, usize> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let mut tx = connection.begin().await?;
                let settled = attribution::settle(&mut tx, now).await?;
                leave(&mut tx, settled.iter().map(|(outcome, credit)| (outcome, *credit))).await?;
                tx.commit().await?;
                Ok(settled.len())
            })
        })
    }

    fn unattributed(&self, account: u32, campaign: CampaignId, days: (i32, i32)) -> Answer<'_, Unattributed> {
        self.admin.run(move |connection| Box::pin(attribution::unattributed(connection, account, campaign, days)))
    }

    fn repeated(&self, account: u32, campaign: CampaignId, days: (i32, i32)) -> Answer<'_, BTreeMap<i32, u64>> {
        self.admin.run(move |connection| Box::pin(repeated(connection, account, campaign, days)))
    }

    fn learn(&self, subject: Subject, most: u32, learn: Learn) -> Answer<'_, Option<usize>> {
        let learned = self.ingest.run(move |connection| {
            Box::pin(async move {
                let mut tx = connection.begin().await?;
                let learned = learn_within(&mut tx, &subject, most, learn).await?;
                match learned {
                    Ok(_) => tx.commit().await?,
                    Err(_) => tx.rollback().await?,
                }
                Ok(learned)
            })
        });
        Box::pin(async { learned.await? })
    }

    fn versions(&self, since: i64) -> Answer<'_, Vec<LearnedVersion>> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select account, campaign, creative, version, updated_at from learned where updated_at >= $1",
                )
                .bind(since)
                .fetch_all(connection)
                .await?;
                let read = |row: &PgRow| {
                    let (version, updated_at) = (row.try_get("version")?, row.try_get("updated_at")?);
                    Ok(LearnedVersion { subject: subject(row)?, version, updated_at })
                };
                rows.iter().map(read).collect()
            })
        })
    }

    fn known(&self, subjects: Vec<Subject>) -> Answer<'_, Vec<(Subject, LearnedRow)>> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select l.* from unnest($1::int[], $2::text[], $3::text[]) k (account, campaign, creative)
                     join learned l using (account, campaign, creative)",
                )
                .bind(subjects.iter().map(|one| one.account.cast_signed()).collect::<Vec<_>>())
                .bind(subjects.iter().map(|one| one.campaign.as_str()).collect::<Vec<_>>())
                .bind(subjects.iter().map(|one| one.creative.as_str()).collect::<Vec<_>>())
                .fetch_all(connection)
                .await?;
                rows.iter().map(|row| Ok((subject(row)?, learned(row)?))).collect()
            })
        })
    }

    fn shapes(&self, account: u32, campaign: CampaignId) -> Answer<'_, Vec<(CreativeId, Value)>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let rows = query("select creative, shape from learned where account = $1 and campaign = $2")
                    .bind(account.cast_signed())
                    .bind(campaign.as_str())
                    .fetch_all(connection)
                    .await?;
                rows.iter().map(|row| Ok((rows::parsed(row, "creative")?, rows::json(row, "shape")?))).collect()
            })
        })
    }

    fn enrol(&self, people: Vec<(u32, CampaignId, Unit)>) -> Answer<'_, ()> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let mut by_campaign = BTreeMap::<_, Vec<Unit>>::new();
                people.into_iter().for_each(|(account, campaign, unit)| {
                    by_campaign.entry((account.cast_signed(), campaign)).or_default().push(unit);
                });
                for ((account, campaign), units) in by_campaign {
                    let mut tx = connection.begin().await?;
                    count_units(&mut tx, account, campaign.as_str(), units).await?;
                    tx.commit().await?;
                }
                Ok(())
            })
        })
    }

    fn combinations(
        &self,
        account: u32,
        campaign: CampaignId,
        days: (i32, i32),
    ) -> Answer<'_, Vec<(CreativeId, CombinationCell)>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select * from combination_cell where account = $1 and campaign = $2 and day >= $3 and day < $4
                     order by day, creative, arm, revision, combination",
                )
                .bind(account.cast_signed())
                .bind(campaign.as_str())
                .bind(days.0)
                .bind(days.1)
                .fetch_all(connection)
                .await?;
                let cell = |row: &PgRow| {
                    Ok((
                        rows::parsed(row, "creative")?,
                        CombinationCell {
                            day: row.try_get("day")?,
                            arm: arm(row)?,
                            revision: row.try_get::<i64, _>("revision")? as u32,
                            combination: row.try_get::<i64, _>("combination")?.cast_unsigned(),
                            choice: choice(row.try_get("choice")?),
                            counts: counts(row)?,
                        },
                    ))
                };
                rows.iter().map(cell).collect()
            })
        })
    }

    fn features(
        &self,
        account: u32,
        campaign: CampaignId,
        days: (i32, i32),
    ) -> Answer<'_, Vec<(CreativeId, FeatureCell)>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select * from feature_cell where account = $1 and campaign = $2 and day >= $3 and day < $4
                     order by day, creative, arm, feature, slot, component",
                )
                .bind(account.cast_signed())
                .bind(campaign.as_str())
                .bind(days.0)
                .bind(days.1)
                .fetch_all(connection)
                .await?;
                let cell = |row: &PgRow| {
                    let (slot, component): (i16, i32) = (row.try_get("slot")?, row.try_get("component")?);
                    Ok((
                        rows::parsed(row, "creative")?,
                        FeatureCell {
                            day: row.try_get("day")?,
                            arm: arm(row)?,
                            feature: row.try_get::<i32, _>("feature")? as u16,
                            component: (slot >= 0).then_some((slot as u8, component as u16)),
                            counts: counts(row)?,
                        },
                    ))
                };
                rows.iter().map(cell).collect()
            })
        })
    }

    fn log(&self, rows: Vec<LoggedDecision>) -> Answer<'_, ()> {
        self.ingest.run(move |connection| Box::pin(log(connection, rows)))
    }

    fn logged(&self, sought: LogQuery) -> Answer<'_, LogRead> {
        self.admin.run(move |connection| Box::pin(logged(connection, sought)))
    }

    fn maintain(&self, now: Millis) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query("select keep_decision_log($1, $2)").bind(now.0).bind(LOG_DAYS).execute(connection).await.map(drop)
            })
        })
    }

    fn sides(&self, account: u32, campaign: CampaignId, experiment: u32, measured: Measured) -> Answer<'_, Sides> {
        self.admin
            .run(move |connection| Box::pin(sides(connection, account.cast_signed(), campaign, experiment, measured)))
    }
}

async fn learn_within(
    tx: &mut PgConnection,
    subject: &Subject,
    most: u32,
    learn: Learn,
) -> Result<Result<Option<usize>, StoreError>, Error> {
    let account = subject.account.cast_signed();
    let (campaign, creative) = (subject.campaign.as_str(), subject.creative.as_str());
    // One at a time for each subject, also while it has no row to lock yet. Who waited would only learn
    // what is left of its lessons, and keep other subjects waiting meanwhile.
    let free = "select pg_try_advisory_xact_lock(hashtextextended(concat_ws('/', $1::int, $2::text, $3::text), 7))";
    let free: bool = query_scalar(free).bind(account).bind(campaign).bind(creative).fetch_one(&mut *tx).await?;
    if !free {
        return Ok(Ok(None));
    }
    let known = query("select * from learned where account = $1 and campaign = $2 and creative = $3")
        .bind(account)
        .bind(campaign)
        .bind(creative)
        .fetch_optional(&mut *tx)
        .await?;
    let taken = query(
        "delete from lesson where account = $1 and campaign = $2 and creative = $3 and id = any (array(
             select id from lesson where account = $1 and campaign = $2 and creative = $3 order by id limit $4))
         returning *",
    )
    .bind(account)
    .bind(campaign)
    .bind(creative)
    .bind(i64::from(most))
    .fetch_all(&mut *tx)
    .await?;
    let mut lessons =
        taken.iter().map(|row| Ok((row.try_get("id")?, lesson(row)?))).collect::<Result<Vec<(i64, _)>, Error>>()?;
    lessons.sort_by_key(|(id, _)| *id);
    let count = lessons.len();
    let known = known.as_ref().map(learned).transpose()?;
    let Learned { body, combinations, features, units, shown } =
        match learn(known, lessons.into_iter().map(|(_, lesson)| lesson).collect()) {
            Ok(learned) => learned,
            Err(error) => return Ok(Err(error)),
        };
    if let Some(LearnedBody { shape, statistics, epoch, watch, goal, since }) = body {
        query(
            "insert into learned as l (account, campaign, creative, version, shape, statistics, epoch, watch, goal, since)
             values ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9)
             on conflict (account, campaign, creative) do update
             set version = l.version + 1, shape = excluded.shape, statistics = excluded.statistics,
                 epoch = excluded.epoch, watch = excluded.watch, goal = excluded.goal, since = excluded.since,
                 updated_at = now_ms()",
        )
        .bind(account)
        .bind(campaign)
        .bind(creative)
        .bind(Json(shape))
        .bind(statistics)
        .bind(epoch)
        .bind(Json(watch))
        .bind((!goal.is_null()).then_some(Json(goal)))
        .bind(since)
        .execute(&mut *tx)
        .await?;
    }
    count_combinations(tx, subject, combinations).await?;
    count_features(tx, subject, features).await?;
    count_units(tx, account, campaign, units).await?;
    count_shown(tx, account, campaign, shown).await?;
    Ok(Ok(Some(count)))
}
