//! Outcomes and decision records.

use std::{
    collections::{BTreeMap, HashSet},
    ops::RangeInclusive,
};

use sqlx::{Connection, Error, PgConnection, Row, postgres::PgRow, query, query_as, types::Uuid};

use super::{
    Lane, Lanes,
    attribution::{self, Identity, Judged, day, identity},
    identity::WRITE_ABOUT_PEOPLE,
    learning, settled, spending,
};
use crate::{
    domain::{
        audience::caps::CapRing,
        ids::{CampaignId, DecisionId, NameHash},
        measurement::{
            attribution::Credit,
            outcome::{Outcome, OutcomeKind, Recorded},
        },
        values::Millis,
    },
    ports::{Answer, DecisionRecord, FoundRecord, OutcomeStore, Recording, Sought, Tally, Touched},
    store::{Options, rows},
};

/// See [`OutcomeStore`].
pub(in crate::store) struct Outcomes {
    ingest: Lane,
    admin: Lane,
    outcome_days: i32,
    record_days: i32,
}

impl Outcomes {
    pub(in crate::store) fn new(lanes: &Lanes, options: &Options) -> Self {
        Self {
            ingest: lanes.ingest.clone(),
            admin: lanes.admin.clone(),
            outcome_days: options.outcome_days.into(),
            record_days: options.record_days.into(),
        }
    }
}

impl OutcomeStore for Outcomes {
    fn record_as(&self, outcomes: Vec<Outcome>, how: Recording, now: Millis) -> Answer<'_, Vec<Recorded>> {
        self.ingest.run(move |connection| Box::pin(record(connection, outcomes, (how, now))))
    }

    fn touched(&self, account: u32, sought: Vec<Sought>) -> Answer<'_, Vec<Option<Touched>>> {
        self.admin.run(move |connection| Box::pin(attribution::touched(connection, account, sought)))
    }

    fn keep(&self, records: Vec<DecisionRecord>) -> Answer<'_, ()> {
        self.ingest.run(move |connection| Box::pin(keep(connection, records)))
    }

    fn find(&self, account: u32, decision: DecisionId) -> Answer<'_, FoundRecord> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let row = query(
                    "select account, decision, at, person, catalog_version, body::text, erased from decision_record
                     where account = $1 and decision = $2 and day = $3",
                )
                .bind(account.cast_signed())
                .bind(decision.0)
                .bind(day(decision))
                .fetch_optional(connection)
                .await?;
                match row {
                    None => Ok(FoundRecord::Absent),
                    Some(row) if row.try_get("erased")? => Ok(FoundRecord::Erased),
                    Some(row) => Ok(FoundRecord::Kept(Box::new(rows::record(&row)?))),
                }
            })
        })
    }

    fn records(
        &self,
        account: u32,
        days: RangeInclusive<i32>,
        before: Option<DecisionId>,
        most: u32,
    ) -> Answer<'_, Vec<DecisionRecord>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                // ids begin with the time of the decision
                let rows = query(
                    "select account, decision, at, person, catalog_version, body::text from decision_record
                     where account = $1 and day between $2 and $3 and decision < $4 and not erased
                     order by decision desc limit $5",
                )
                .bind(account.cast_signed())
                .bind(*days.start())
                .bind(*days.end())
                .bind(before.map_or(Uuid::max(), |decision| decision.0))
                .bind(i64::from(most))
                .fetch_all(connection)
                .await?;
                rows.iter().map(rows::record).collect()
            })
        })
    }

    fn outcomes_of(&self, account: u32, decision: DecisionId) -> Answer<'_, Vec<Outcome>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select account, decision, kind, discriminator, at, campaign, creative, revision, combination, person,
                            cap_window, value_micros
                     from outcome where account = $1 and decision = $2 and day = $3
                     order by at, kind, discriminator",
                )
                .bind(account.cast_signed())
                .bind(decision.0)
                .bind(day(decision))
                .fetch_all(connection)
                .await?;
                rows.iter().map(rows::outcome).collect()
            })
        })
    }

    fn tallies(&self, account: u32, campaign: CampaignId, days: RangeInclusive<i32>) -> Answer<'_, Vec<Tally>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select creative, kind, count(*) as count from outcome where account = $1 and campaign = $2
                     and day between $3 and $4 group by creative, kind order by creative, kind",
                )
                .bind(account.cast_signed())
                .bind(campaign.as_str())
                .bind(*days.start())
                .bind(*days.end())
                .fetch_all(connection)
                .await?;
                rows.iter().map(rows::tally).collect()
            })
        })
    }

    fn maintain(&self, now: Millis) -> Answer<'_, ()> {
        let (outcome_days, record_days) = (self.outcome_days, self.record_days);
        self.admin.run(move |connection| {
            Box::pin(async move {
                query("select make_partitions($1)").bind(now.0).execute(&mut *connection).await?;
                query("select drop_expired($1, $2, $3)")
                    .bind(now.0)
                    .bind(outcome_days)
                    .bind(record_days)
                    .execute(&mut *connection)
                    .await?;
                query("delete from unattributed where day < $1")
                    .bind((now.0 / 86_400_000) as i32 - outcome_days)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
    }
}

/// Somebody whose first impression and first event come at once may have their writers wait for each
/// other in a circle, which the server breaks.
async fn record(
    connection: &mut PgConnection,
    outcomes: Vec<Outcome>,
    how: (Recording, Millis),
) -> Result<Vec<Recorded>, Error> {
    let mut tries = 0;
    loop {
        let tried = count(connection, &outcomes, how).await.map(Some);
        if let Some(end) = settled(tried, &mut tries) {
            return end;
        }
    }
}

async fn count(
    connection: &mut PgConnection,
    outcomes: &[Outcome],
    (how, now): (Recording, Millis),
) -> Result<Vec<Recorded>, Error> {
    let mut tx = connection.begin().await?;
    query(WRITE_ABOUT_PEOPLE).execute(&mut *tx).await?;
    let judged = attribution::judge(&mut tx, outcomes).await?;
    let late = |(_, credit): &&Judged<'_>| *credit == Some(Credit::Late);
    let timely = || judged.iter().filter(|one| !late(one));
    let taken = attribution::taken_across_decisions(&mut tx, timely().copied()).await?;
    let first: Vec<Judged<'_>> = timely().filter(|(outcome, _)| !taken.contains(&identity(outcome))).copied().collect();
    let mut new = insert(&mut tx, first).await?;
    let became = |(outcome, credit): &Judged<'_>| match credit {
        Some(Credit::Late) => Recorded::Late,
        // A repeat within the batch finds the identity already taken.
        _ if !new.remove(&identity(outcome)) => Recorded::Duplicate,
        Some(credit) => Recorded::Credited(*credit),
        None => Recorded::New,
    };
    let counted: Vec<_> = judged.iter().map(became).collect();
    let news = || judged.iter().zip(&counted).filter(|(_, recorded)| recorded.is_new()).map(|(judged, _)| *judged);
    learning::leave(&mut tx, news().filter(|(_, credit)| credit.is_none_or(Credit::counts))).await?;
    attribution::keep_apart(&mut tx, news().chain(judged.iter().filter(late).copied()), now).await?;
    count_towards_caps(&mut tx, news().map(|(outcome, _)| outcome)).await?;
    spending::charge(&mut tx, news().map(|(outcome, _)| outcome)).await?;
    if how == Recording::Live {
        let repeats = judged.iter().zip(&counted).filter(|(_, recorded)| **recorded == Recorded::Duplicate);
        learning::count_repeats(&mut tx, repeats.map(|((outcome, _), _)| *outcome)).await?;
    }
    match how {
        Recording::Rehearsed => tx.rollback().await?,
        Recording::Live | Recording::Kept => tx.commit().await?,
    }
    Ok(counted)
}

/// Inserts what is new and says what that was. In one order, so that two batches with repeats of
/// each other's outcomes never wait for each other in a circle; of repeats within the batch the
/// first one is kept. The person of an outcome is left out when they were erased.
async fn insert(tx: &mut PgConnection, mut sorted: Vec<Judged<'_>>) -> Result<HashSet<Identity>, Error> {
    sorted.sort_by_key(|(outcome, _)| identity(outcome));
    macro_rules! column {
        ($outcome:ident => $value:expr) => {
            sorted.iter().map(|($outcome, _)| $value).collect::<Vec<_>>()
        };
    }
    // what a conversion may be joined to by its person
    let exposure = |outcome: &Outcome| {
        let joined =
            matches!(outcome.kind, OutcomeKind::Impression | OutcomeKind::Click) && outcome.measured_person().is_some();
        outcome.exposure.as_deref().filter(|_| joined).map(<[u8]>::to_vec)
    };
    let rows = query(
        "insert into outcome (day, account, decision, kind, discriminator, at, campaign, creative, revision,
                              combination, cap_window, value_micros, invalid, credit, exposure, person)
         select o.day, o.account, o.decision, o.kind, o.discriminator, o.at, o.campaign, o.creative, o.revision,
                o.combination, o.cap_window, o.value_micros, o.invalid, o.credit,
                case when p.erased_at is null then o.exposure end,
                case when p.erased_at is null then coalesce(p.merged_into, o.person) end
         from unnest($1::int[], $2::int[], $3::uuid[], $4::smallint[], $5::uuid[], $6::bigint[], $7::text[],
                     $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::uuid[], $14::smallint[],
                     $15::smallint[], $16::bytea[])
              with ordinality o (day, account, decision, kind, discriminator, at, campaign, creative, revision,
                                 combination, cap_window, value_micros, person, invalid, credit, exposure, place)
         left join profile p on p.account = o.account and p.uid = o.person
         order by o.place
         on conflict do nothing
         returning account, decision, kind, discriminator",
    )
    .bind(column!(o => day(o.decision)))
    .bind(column!(o => o.account.cast_signed()))
    .bind(column!(o => o.decision.0))
    .bind(column!(o => i16::from(o.kind.number())))
    .bind(column!(o => Uuid::from_u128(o.discriminator)))
    .bind(column!(o => o.at.0))
    .bind(column!(o => o.campaign.as_ref().map(|campaign| campaign.as_str().to_owned())))
    .bind(column!(o => o.creative.as_str()))
    .bind(column!(o => i64::from(o.revision)))
    .bind(column!(o => o.combination.cast_signed()))
    .bind(column!(o => o.cap_window.map(|window| window.millis())))
    .bind(column!(o => o.value_micros))
    .bind(column!(o => o.measured_person().map(|person| person.as_uuid())))
    .bind(column!(o => o.invalid.map(|why| i16::from(why.number()))))
    .bind(sorted.iter().map(|(_, credit)| credit.map(|credit| i16::from(credit.number()))).collect::<Vec<_>>())
    .bind(column!(o => exposure(o)))
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))).collect()
}

/// Adds impressions to the rings of their people, in the order of account and uid as every writer.
async fn count_towards_caps(tx: &mut PgConnection, new: impl Iterator<Item = &Outcome>) -> Result<(), Error> {
    let mut seen: BTreeMap<(i32, Uuid), Vec<_>> = BTreeMap::new();
    for outcome in new.filter(|outcome| outcome.kind == OutcomeKind::Impression) {
        if let (Some(person), Some(window), Some(campaign)) = (outcome.person, outcome.cap_window, &outcome.campaign) {
            let impressions = seen.entry((outcome.account.cast_signed(), person.as_uuid())).or_default();
            impressions.push((NameHash::of(campaign.as_str()), outcome.at, window));
        }
    }
    if seen.is_empty() {
        return Ok(());
    }
    let (accounts, uids): (Vec<_>, Vec<_>) = seen.keys().copied().unzip();
    let led: Vec<(i32, Uuid, Uuid)> = query_as(
        "with new as (
             insert into profile (account, uid) select * from unnest($1::int[], $2::uuid[]) on conflict do nothing)
         select p.* from unnest($1::int[], $2::uuid[]) k (account, uid) cross join lateral (
             select account, uid, merged_into from profile
             where account = k.account and uid = k.uid and merged_into is not null limit 1) p",
    )
    .bind(&accounts)
    .bind(&uids)
    .fetch_all(&mut *tx)
    .await?;
    for (account, key, person) in led {
        let impressions = seen.remove(&(account, key)).unwrap_or_default();
        seen.entry((account, person)).or_default().extend(impressions);
    }
    let mut rings: BTreeMap<(i32, Uuid), CapRing> = BTreeMap::new();
    while !seen.is_empty() {
        let mut leading = BTreeMap::<_, Vec<_>>::new();
        for row in &hold(tx, seen.keys()).await? {
            let (account, uid): (i32, Uuid) = (row.try_get("account")?, row.try_get("uid")?);
            let impressions = seen.remove(&(account, uid)).unwrap_or_default();
            if let Some(person) = row.try_get::<Option<Uuid>, _>("merged_into")? {
                leading.entry((account, person)).or_default().extend(impressions);
                continue;
            }
            // A ring that cannot be read starts anew: one spoilt row must not stop everybody's outcomes.
            let ring = CapRing::decode(row.try_get("caps")?).unwrap_or_default();
            let ring = rings.entry((account, uid)).or_insert(ring);
            let now = Millis(row.try_get("now")?);
            impressions.into_iter().for_each(|(campaign, at, window)| ring.absorb_at(now, campaign, at, window));
        }
        seen = leading;
    }
    let (mut accounts, mut uids, mut caps) = (Vec::new(), Vec::new(), Vec::new());
    for ((account, uid), ring) in rings {
        accounts.push(account);
        uids.push(uid);
        caps.push(ring.encode());
    }
    query(
        "with counted as (
             insert into profile (account, uid, caps) select * from unnest($1::int[], $2::uuid[], $3::bytea[])
             on conflict (account, uid) do update
             set caps = excluded.caps, version = profile.version + 1, updated_at = now_ms()
             returning account, uid, version)
         insert into change_log (kind, account, uid, version) select 'person', account, uid, version from counted",
    )
    .bind(accounts)
    .bind(uids)
    .bind(caps)
    .execute(tx)
    .await
    .map(drop)
}

/// Locks people who were not erased.
async fn hold(tx: &mut PgConnection, people: impl Iterator<Item = &(i32, Uuid)>) -> Result<Vec<PgRow>, Error> {
    let (accounts, uids): (Vec<i32>, Vec<Uuid>) = people.copied().unzip();
    query(
        "select p.*, now_ms() as now from unnest($1::int[], $2::uuid[]) k (account, uid) cross join lateral (
             select account, uid, caps, merged_into from profile
             where account = k.account and uid = k.uid and erased_at is null for update) p",
    )
    .bind(accounts)
    .bind(uids)
    .fetch_all(tx)
    .await
}

async fn keep(connection: &mut PgConnection, mut records: Vec<DecisionRecord>) -> Result<(), Error> {
    records.sort_by_key(|record| (record.account.cast_signed(), record.decision));
    macro_rules! column {
        ($value:expr) => {
            records.iter().map($value).collect::<Vec<_>>()
        };
    }
    let mut tx = connection.begin().await?;
    query(WRITE_ABOUT_PEOPLE).execute(&mut *tx).await?;
    query(
        "insert into decision_record (day, account, decision, at, catalog_version, person, body, erased)
         select r.day, r.account, r.decision, r.at, r.catalog_version,
                case when p.erased_at is null then coalesce(p.merged_into, r.person) end,
                case when p.erased_at is null then r.body::json else '{}' end,
                p.erased_at is not null
         from unnest($1::int[], $2::int[], $3::uuid[], $4::bigint[], $5::bigint[], $6::uuid[], $7::text[])
              with ordinality r (day, account, decision, at, catalog_version, person, body, place)
         left join profile p on p.account = r.account and p.uid = r.person
         order by r.place
         on conflict do nothing",
    )
    .bind(column!(|r| day(r.decision)))
    .bind(column!(|r| r.account.cast_signed()))
    .bind(column!(|r| r.decision.0))
    .bind(column!(|r| r.at.0))
    .bind(column!(|r| r.catalog_version))
    .bind(column!(|r| r.person.map(|person| person.as_uuid())))
    .bind(column!(|r| r.body.as_str()))
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}
