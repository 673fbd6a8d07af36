//! What is learned and counted of creatives.

use std::collections::BTreeMap;

use sqlx::{
    Connection, Error, PgConnection, Row,
    postgres::PgRow,
    query,
    types::{Json, Uuid},
};

use super::{Lane, Lanes, identity::WRITE_ABOUT_PEOPLE};
use crate::{
    domain::{
        ids::{CampaignId, CreativeId, DecisionId},
        measurement::{
            beacon::decided_at,
            cells::Counts,
            exposure::Arm,
            lift::Sums,
            outcome::{Invalid, Outcome, OutcomeKind},
            traffic::InvalidTally,
        },
        values::Millis,
    },
    ports::{
        Answer, CombinationCell, FeatureCell, Learn, Learned, LearnedBody, LearnedRow, LearningStore, LessonRow,
        LoggedDecision, Measured, Rewarded, Subject, Unit,
    },
    store::rows,
};

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

/// Sums over people by side, of one measure.
macro_rules! arms {
    ($measured:literal) => {
        concat!(
            "select arm, count(*) as people, sum(y) as sum, sum(y * y) as squares
             from (select arm, ",
            $measured,
            " as y from experiment_unit where account = $1 and campaign = $2) u group by arm"
        )
    };
}

/// The newest logged decisions with a measure of their outcomes.
macro_rules! logged {
    ($measured:literal) => {
        concat!(
            "select l.*, (select (",
            $measured,
            ")::float8 from outcome o where o.account = l.account and o.decision = l.decision and o.day = l.day) as reward
             from decision_log l
             where l.account = $1 and l.campaign = $2 and l.day >= $3 and l.day < $4 and l.propensity > 0
             order by l.decision desc limit $5"
        )
    };
}

/// How long the decision log is kept, in days of the decision.
const LOG_DAYS: i32 = 30;

macro_rules! column {
    ($rows:expr, $value:expr) => {
        $rows.iter().map($value).collect::<Vec<_>>()
    };
}

/// Leaves new outcomes to be learned from, within the transaction that counts them.
pub(super) async fn leave(tx: &mut PgConnection, new: impl Iterator<Item = &Outcome>) -> Result<(), Error> {
    let told: Vec<_> = new
        .filter(|o| o.kind.is_of_people())
        .filter_map(|o| Some((o, o.campaign.as_ref()?, o.exposure.as_ref()?)))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($outcome:ident, $campaign:ident, $exposure:ident => $value:expr) => {
            told.iter().map(|($outcome, $campaign, $exposure)| $value).collect::<Vec<_>>()
        };
    }
    query(
        "insert into lesson (account, campaign, creative, decision, kind, goal, value_micros, revision, person, exposure, invalid, combination)
         select l.account, l.campaign, l.creative, l.decision, l.kind, l.goal, l.value_micros, l.revision,
                case when p.erased_at is null then coalesce(p.merged_into, l.person) end, l.exposure, l.invalid, l.combination
         from unnest($1::int[], $2::text[], $3::text[], $4::uuid[], $5::smallint[], $6::text[], $7::bigint[],
                     $8::bigint[], $9::uuid[], $10::bytea[], $11::smallint[], $12::bigint[])
              l (account, campaign, creative, decision, kind, goal, value_micros, revision, person, exposure, invalid, combination)
         left join profile p on p.account = l.account and p.uid = l.person",
    )
    .bind(column!(o, _c, _e => o.account.cast_signed()))
    .bind(column!(_o, c, _e => c.as_str()))
    .bind(column!(o, _c, _e => o.creative.as_str()))
    .bind(column!(o, _c, _e => o.decision.0))
    .bind(column!(o, _c, _e => i16::from(o.kind.number())))
    .bind(column!(o, _c, _e => o.goal.as_ref().map(|goal| goal.as_str())))
    .bind(column!(o, _c, _e => o.value_micros))
    .bind(column!(o, _c, _e => i64::from(o.revision)))
    .bind(column!(o, _c, _e => o.person.map(|person| person.as_uuid())))
    .bind(column!(_o, _c, e => e.to_vec()))
    .bind(column!(o, _c, _e => o.invalid.map(|why| i16::from(why.number()))))
    .bind(column!(o, _c, _e => o.combination.cast_signed()))
    .execute(tx)
    .await
    .map(drop)
}

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

    fn learn(&self, subject: Subject, most: u32, learn: Learn) -> Answer<'_, usize> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let mut tx = connection.begin().await?;
                let lessons = learn_within(&mut tx, &subject, most, learn).await?;
                tx.commit().await?;
                Ok(lessons)
            })
        })
    }

    fn versions(&self) -> Answer<'_, Vec<(Subject, i64)>> {
        self.ingest.run(|connection| {
            Box::pin(async move {
                let rows =
                    query("select account, campaign, creative, version from learned").fetch_all(connection).await?;
                rows.iter().map(|row| Ok((subject(row)?, row.try_get("version")?))).collect()
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

    fn logged(
        &self,
        account: u32,
        campaign: CampaignId,
        days: (i32, i32),
        measured: Measured,
        most: u32,
    ) -> Answer<'_, Vec<Rewarded>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let statement = match measured {
                    Measured::Clicks => logged!("count(*) filter (where o.kind = 2)"),
                    Measured::Conversions => logged!("count(*) filter (where o.kind = 3)"),
                    Measured::Value => logged!("coalesce(sum(o.value_micros) filter (where o.kind = 3), 0) / 1e6"),
                };
                let rows = query(statement)
                    .bind(account.cast_signed())
                    .bind(campaign.as_str())
                    .bind(days.0)
                    .bind(days.1)
                    .bind(i64::from(most))
                    .fetch_all(connection)
                    .await?;
                let read = |row: &PgRow| {
                    let logged = LoggedDecision {
                        account,
                        decision: DecisionId(row.try_get("decision")?),
                        campaign: rows::parsed(row, "campaign")?,
                        creative: rows::parsed(row, "creative")?,
                        person: rows::maybe_uid(row, "person")?,
                        version: row.try_get::<i64, _>("version")?.unsigned_abs(),
                        choice: choice(row.try_get("choice")?),
                        features: choice(row.try_get("features")?),
                        eligible: unpack_lists(row.try_get("eligible")?),
                        propensity: row.try_get::<f32, _>("propensity")?.into(),
                    };
                    Ok(Rewarded { logged, reward: row.try_get("reward")? })
                };
                rows.iter().map(read).collect()
            })
        })
    }

    fn maintain(&self, now: Millis) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query("select keep_decision_log($1, $2)").bind(now.0).bind(LOG_DAYS).execute(connection).await.map(drop)
            })
        })
    }

    fn arms(&self, account: u32, campaign: CampaignId, measured: Measured) -> Answer<'_, [Sums; 2]> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let statement = match measured {
                    Measured::Clicks => arms!("clicks::float8"),
                    Measured::Conversions => arms!("conversions::float8"),
                    Measured::Value => arms!("value_micros / 1e6::float8"),
                };
                let rows =
                    query(statement).bind(account.cast_signed()).bind(campaign.as_str()).fetch_all(connection).await?;
                let mut sums = [Sums::default(); 2];
                for row in &rows {
                    let arm: i16 = row.try_get("arm")?;
                    if let Some(sum) = usize::try_from(arm).ok().and_then(|arm| sums.get_mut(arm)) {
                        *sum = Sums {
                            people: row.try_get::<i64, _>("people")?.unsigned_abs(),
                            sum: row.try_get("sum")?,
                            squares: row.try_get("squares")?,
                        };
                    }
                }
                Ok(sums)
            })
        })
    }
}

async fn log(connection: &mut PgConnection, logged: Vec<LoggedDecision>) -> Result<(), Error> {
    let mut tx = connection.begin().await?;
    query(WRITE_ABOUT_PEOPLE).execute(&mut *tx).await?;
    query(
        "insert into decision_log (day, account, decision, campaign, creative, person, version, choice, features, eligible, propensity)
         select l.day, l.account, l.decision, l.campaign, l.creative,
                case when p.erased_at is null then coalesce(p.merged_into, l.person) end,
                l.version, l.choice, l.features, l.eligible, l.propensity
         from unnest($1::int[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::bigint[], $8::bytea[],
                     $9::bytea[], $10::bytea[], $11::real[])
              l (day, account, decision, campaign, creative, person, version, choice, features, eligible, propensity)
         left join profile p on p.account = l.account and p.uid = l.person",
    )
    .bind(column!(logged, |l| (decided_at(l.decision).0 / 86_400_000) as i32))
    .bind(column!(logged, |l| l.account.cast_signed()))
    .bind(column!(logged, |l| l.decision.0))
    .bind(column!(logged, |l| l.campaign.as_str()))
    .bind(column!(logged, |l| l.creative.as_str()))
    .bind(column!(logged, |l| l.person.map(|person| person.as_uuid())))
    .bind(column!(logged, |l| l.version.cast_signed()))
    .bind(column!(logged, |l| pack(&l.choice)))
    .bind(column!(logged, |l| pack(&l.features)))
    .bind(column!(logged, |l| pack_lists(&l.eligible)))
    .bind(column!(logged, |l| l.propensity as f32))
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

fn pack(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|one| one.to_be_bytes()).collect()
}

/// Lists of small numbers: the length of each, then its numbers as bits.
fn pack_lists(lists: &[Vec<u16>]) -> Vec<u8> {
    let mut out = Vec::new();
    for list in lists {
        let bytes = list.iter().max().map_or(0, |most| usize::from(*most) / 8 + 1);
        let mut bits = vec![0_u8; bytes];
        list.iter().for_each(|one| bits[usize::from(*one) / 8] |= 1 << (one % 8));
        out.push(bytes as u8);
        out.extend(bits);
    }
    out
}

fn unpack_lists(mut packed: &[u8]) -> Vec<Vec<u16>> {
    let mut lists = Vec::new();
    while let Some(bytes) = packed.split_off_first() {
        let Some(bits) = packed.split_off(..usize::from(*bytes)) else { break };
        let all = (0..8 * bits.len()).filter(|at| bits[at / 8] & 1 << (at % 8) != 0);
        lists.push(all.map(|at| at as u16).collect());
    }
    lists
}

async fn learn_within(tx: &mut PgConnection, subject: &Subject, most: u32, learn: Learn) -> Result<usize, Error> {
    let account = subject.account.cast_signed();
    let (campaign, creative) = (subject.campaign.as_str(), subject.creative.as_str());
    // One at a time for each subject, also while it has no row to lock yet.
    query("select pg_advisory_xact_lock(hashtextextended(concat_ws('/', $1::int, $2::text, $3::text), 7))")
        .bind(account)
        .bind(campaign)
        .bind(creative)
        .execute(&mut *tx)
        .await?;
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
    let Learned { body, combinations, features, units } =
        learn(known.as_ref().map(learned).transpose()?, lessons.into_iter().map(|(_, lesson)| lesson).collect());
    if let Some(LearnedBody { shape, statistics, epoch, watch }) = body {
        query(
            "insert into learned as l (account, campaign, creative, version, shape, statistics, epoch, watch)
             values ($1, $2, $3, 1, $4, $5, $6, $7)
             on conflict (account, campaign, creative) do update
             set version = l.version + 1, shape = excluded.shape, statistics = excluded.statistics,
                 epoch = excluded.epoch, watch = excluded.watch, updated_at = now_ms()",
        )
        .bind(account)
        .bind(campaign)
        .bind(creative)
        .bind(Json(shape))
        .bind(statistics)
        .bind(epoch)
        .bind(Json(watch))
        .execute(&mut *tx)
        .await?;
    }
    count_combinations(tx, subject, combinations).await?;
    count_features(tx, subject, features).await?;
    count_units(tx, account, campaign, units).await?;
    Ok(count)
}

async fn count_combinations(
    tx: &mut PgConnection,
    subject: &Subject,
    cells: Vec<CombinationCell>,
) -> Result<(), Error> {
    if cells.is_empty() {
        return Ok(());
    }
    query(
        "insert into combination_cell as c (account, campaign, creative, day, arm, revision, choice, combination,
                                            impressions, viewables, clicks, conversions, value_micros,
                                            programs, too_fast, replays)
         select $1, $2, $3, * from unnest($4::int[], $5::smallint[], $6::bigint[], $7::bytea[], $16::bigint[], $8::bigint[],
             $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[])
         on conflict (account, campaign, day, creative, arm, revision, combination) do update
         set impressions = c.impressions + excluded.impressions, viewables = c.viewables + excluded.viewables,
             clicks = c.clicks + excluded.clicks, conversions = c.conversions + excluded.conversions,
             value_micros = c.value_micros + excluded.value_micros, programs = c.programs + excluded.programs,
             too_fast = c.too_fast + excluded.too_fast, replays = c.replays + excluded.replays",
    )
    .bind(subject.account.cast_signed())
    .bind(subject.campaign.as_str())
    .bind(subject.creative.as_str())
    .bind(column!(cells, |c| c.day))
    .bind(column!(cells, |c| i16::from(c.arm.number())))
    .bind(column!(cells, |c| i64::from(c.revision)))
    .bind(column!(cells, |c| pack(&c.choice)))
    .bind(column!(cells, |c| c.counts.impressions.cast_signed()))
    .bind(column!(cells, |c| c.counts.viewables.cast_signed()))
    .bind(column!(cells, |c| c.counts.clicks.cast_signed()))
    .bind(column!(cells, |c| c.counts.conversions.cast_signed()))
    .bind(column!(cells, |c| c.counts.value_micros))
    .bind(column!(cells, |c| c.counts.invalid.known_program.cast_signed()))
    .bind(column!(cells, |c| c.counts.invalid.impossible_rate.cast_signed()))
    .bind(column!(cells, |c| c.counts.invalid.replay.cast_signed()))
    .bind(column!(cells, |c| c.combination.cast_signed()))
    .execute(tx)
    .await
    .map(drop)
}

async fn count_features(tx: &mut PgConnection, subject: &Subject, cells: Vec<FeatureCell>) -> Result<(), Error> {
    if cells.is_empty() {
        return Ok(());
    }
    query(
        "insert into feature_cell as c (account, campaign, creative, day, arm, feature, slot, component,
                                        impressions, viewables, clicks, conversions, value_micros,
                                        programs, too_fast, replays)
         select $1, $2, $3, * from unnest($4::int[], $5::smallint[], $6::int[], $7::smallint[], $8::int[],
             $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[])
         on conflict (account, campaign, day, creative, arm, feature, slot, component) do update
         set impressions = c.impressions + excluded.impressions, viewables = c.viewables + excluded.viewables,
             clicks = c.clicks + excluded.clicks, conversions = c.conversions + excluded.conversions,
             value_micros = c.value_micros + excluded.value_micros, programs = c.programs + excluded.programs,
             too_fast = c.too_fast + excluded.too_fast, replays = c.replays + excluded.replays",
    )
    .bind(subject.account.cast_signed())
    .bind(subject.campaign.as_str())
    .bind(subject.creative.as_str())
    .bind(column!(cells, |c| c.day))
    .bind(column!(cells, |c| i16::from(c.arm.number())))
    .bind(column!(cells, |c| i32::from(c.feature)))
    .bind(column!(cells, |c| c.component.map_or(-1, |(slot, _)| i16::from(slot))))
    .bind(column!(cells, |c| c.component.map_or(0, |(_, component)| i32::from(component))))
    .bind(column!(cells, |c| c.counts.impressions.cast_signed()))
    .bind(column!(cells, |c| c.counts.viewables.cast_signed()))
    .bind(column!(cells, |c| c.counts.clicks.cast_signed()))
    .bind(column!(cells, |c| c.counts.conversions.cast_signed()))
    .bind(column!(cells, |c| c.counts.value_micros))
    .bind(column!(cells, |c| c.counts.invalid.known_program.cast_signed()))
    .bind(column!(cells, |c| c.counts.invalid.impossible_rate.cast_signed()))
    .bind(column!(cells, |c| c.counts.invalid.replay.cast_signed()))
    .execute(tx)
    .await
    .map(drop)
}

/// Each person once, in the order of their uid; whoever was erased is left out.
async fn count_units(tx: &mut PgConnection, account: i32, campaign: &str, units: Vec<Unit>) -> Result<(), Error> {
    let mut by_person = BTreeMap::<Uuid, Unit>::new();
    for unit in units {
        let person = by_person
            .entry(unit.person.as_uuid())
            .or_insert_with(|| Unit { counts: Counts::default(), ..unit.clone() });
        person.counts += unit.counts;
        person.at = person.at.min(unit.at);
    }
    let units: Vec<Unit> = by_person.into_values().collect();
    if units.is_empty() {
        return Ok(());
    }
    query(
        "insert into experiment_unit as u (account, campaign, person, arm, first_at, impressions, clicks, conversions, value_micros)
         select $1, $2, k.person, k.arm, k.at, k.impressions, k.clicks, k.conversions, k.value_micros
         from unnest($3::uuid[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
              k (person, arm, at, impressions, clicks, conversions, value_micros)
         left join profile p on p.account = $1 and p.uid = k.person
         where p.erased_at is null
         on conflict (account, campaign, person) do update
         set impressions = u.impressions + excluded.impressions, clicks = u.clicks + excluded.clicks,
             conversions = u.conversions + excluded.conversions, value_micros = u.value_micros + excluded.value_micros",
    )
    .bind(account)
    .bind(campaign)
    .bind(column!(units, |u| u.person.as_uuid()))
    .bind(column!(units, |u| i16::from(u.arm.number())))
    .bind(column!(units, |u| u.at.0))
    .bind(column!(units, |u| u.counts.impressions.cast_signed()))
    .bind(column!(units, |u| u.counts.clicks.cast_signed()))
    .bind(column!(units, |u| u.counts.conversions.cast_signed()))
    .bind(column!(units, |u| u.counts.value_micros))
    .execute(tx)
    .await
    .map(drop)
}

fn subject(row: &PgRow) -> Result<Subject, Error> {
    Ok(Subject {
        account: rows::account(row, "account")?,
        campaign: rows::parsed(row, "campaign")?,
        creative: rows::parsed(row, "creative")?,
    })
}

fn learned(row: &PgRow) -> Result<LearnedRow, Error> {
    Ok(LearnedRow {
        version: row.try_get("version")?,
        body: LearnedBody {
            shape: rows::json(row, "shape")?,
            statistics: row.try_get("statistics")?,
            epoch: row.try_get("epoch")?,
            watch: rows::json(row, "watch")?,
        },
    })
}

fn lesson(row: &PgRow) -> Result<LessonRow, Error> {
    let kind: i16 = row.try_get("kind")?;
    let kind = OutcomeKind::ALL.into_iter().find(|of| i16::from(of.number()) == kind);
    let goal = match row.try_get::<Option<&str>, _>("goal")? {
        Some(_) => Some(rows::parsed(row, "goal")?),
        None => None,
    };
    Ok(LessonRow {
        decision: DecisionId(row.try_get("decision")?),
        kind: kind.ok_or_else(|| Error::Decode("no kind of outcome".into()))?,
        goal,
        value_micros: row.try_get("value_micros")?,
        revision: row.try_get::<i64, _>("revision")? as u32,
        combination: row.try_get::<i64, _>("combination")?.cast_unsigned(),
        person: rows::maybe_uid(row, "person")?,
        invalid: invalid(row)?,
        exposure: row.try_get::<Vec<u8>, _>("exposure")?.into(),
    })
}

fn invalid(row: &PgRow) -> Result<Option<Invalid>, Error> {
    let Some(number) = row.try_get::<Option<i16>, _>("invalid")? else { return Ok(None) };
    Ok(Invalid::ALL.into_iter().find(|why| i16::from(why.number()) == number))
}

fn arm(row: &PgRow) -> Result<Arm, Error> {
    let number: i16 = row.try_get("arm")?;
    let arm = Arm::ALL.into_iter().find(|arm| i16::from(arm.number()) == number);
    arm.ok_or_else(|| Error::Decode("no side of an experiment".into()))
}

fn counts(row: &PgRow) -> Result<Counts, Error> {
    let number = |column| Ok::<_, Error>(row.try_get::<i64, _>(column)?.unsigned_abs());
    Ok(Counts {
        impressions: number("impressions")?,
        viewables: number("viewables")?,
        clicks: number("clicks")?,
        conversions: number("conversions")?,
        value_micros: row.try_get("value_micros")?,
        invalid: InvalidTally {
            known_program: number("programs")?,
            impossible_rate: number("too_fast")?,
            replay: number("replays")?,
        },
    })
}

fn choice(packed: &[u8]) -> Vec<u16> {
    packed.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}
