//! Budgets, divided among replicas.

use std::collections::BTreeMap;

use sqlx::{Connection, Error, PgConnection, Row, query, query_scalar, types::Uuid};

use super::{Lane, Lanes};
use crate::{
    domain::{
        catalog::budget::{Spent, grant},
        measurement::outcome::Outcome,
    },
    ports::{Answer, Lease, LeaseWish, SpendStore},
};

/// See [`SpendStore`].
pub(in crate::store) struct Spending(Lane);

impl Spending {
    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        Self(lanes.ingest.clone())
    }
}

impl SpendStore for Spending {
    fn lease(&self, replica: u128, wishes: Vec<LeaseWish>) -> Answer<'_, Vec<Lease>> {
        self.0.run(move |connection| Box::pin(lease(connection, Uuid::from_u128(replica), wishes)))
    }
}

/// Who asks holds this lock: one replica is answered after the other.
const LOCK: i64 = 0x7465_7373_7370_656e;
/// How long the lease of a replica that no longer asks stands, in ms: it bids for 60 s after it asked
/// last, and what it bid may be billed for 60 s more.
const STANDS: i64 = 120_000;
/// A replica that had bid when it asked within this, in ms, bids.
const ALIVE: i64 = 5_000;

async fn lease(connection: &mut PgConnection, replica: Uuid, wishes: Vec<LeaseWish>) -> Result<Vec<Lease>, Error> {
    let mut tx = connection.begin().await?;
    query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    if wishes.iter().any(|of| of.wish.recent > 0) {
        query("insert into bidder values ($1, now_ms()) on conflict (replica) do update set at = now_ms()")
            .bind(replica)
            .execute(&mut *tx)
            .await?;
    }
    query("delete from bidder where at < now_ms() - $1").bind(STANDS).execute(&mut *tx).await?;
    query("delete from campaign_lease where at < now_ms() - $1").bind(STANDS).execute(&mut *tx).await?;
    let others: i64 = query_scalar("select count(*) from bidder where at > now_ms() - $1 and replica <> $2")
        .bind(ALIVE)
        .bind(replica)
        .fetch_one(&mut *tx)
        .await?;
    macro_rules! column {
        ($value:expr) => {
            wishes.iter().map($value).collect::<Vec<_>>()
        };
    }
    let (accounts, campaigns) = (column!(|w| w.account.cast_signed()), column!(|w| w.campaign.as_str()));
    let (currencies, days) = (column!(|w| w.currency.as_str().to_owned()), column!(|w| w.day));
    query(
        "insert into campaign_spend as s (account, campaign, currency, day, bid)
         select * from unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::bigint[]) w (a, b, c, d, bid)
         where bid > 0 order by a, b collate \"C\", c collate \"C\", d
         on conflict (account, campaign, currency, day) do update set bid = s.bid + excluded.bid",
    )
    .bind(&accounts)
    .bind(&campaigns)
    .bind(&currencies)
    .bind(&days)
    .bind(column!(|w| w.bid))
    .execute(&mut *tx)
    .await?;
    let rows = query(
        "select s.spent_day, s.spent_total, s.impressions, s.bid, l.held_day, l.held_total
         from unnest($1::int[], $2::text[], $3::text[], $4::int[]) with ordinality w (account, campaign, currency, day, place)
         cross join lateral (
             select coalesce(sum(spent) filter (where day = w.day), 0)::bigint spent_day,
                    coalesce(sum(spent), 0)::bigint spent_total,
                    coalesce(sum(impressions) filter (where day = w.day), 0)::bigint impressions,
                    coalesce(sum(bid) filter (where day = w.day), 0)::bigint bid
             from campaign_spend where account = w.account and campaign = w.campaign and currency = w.currency) s
         cross join lateral (
             select coalesce(sum(held) filter (where day = w.day), 0)::bigint held_day,
                    coalesce(sum(held), 0)::bigint held_total
             from campaign_lease
             where account = w.account and campaign = w.campaign and currency = w.currency
               and (replica <> $5 or day <> w.day)) l
         order by w.place",
    )
    .bind(&accounts)
    .bind(&campaigns)
    .bind(&currencies)
    .bind(&days)
    .bind(replica)
    .fetch_all(&mut *tx)
    .await?;
    let mut leases = Vec::with_capacity(wishes.len());
    for (row, LeaseWish { wish, .. }) in rows.iter().zip(&wishes) {
        let spent = Spent {
            day: row.try_get("spent_day")?,
            total: row.try_get("spent_total")?,
            impressions: row.try_get("impressions")?,
            bid: row.try_get("bid")?,
            held_day: row.try_get("held_day")?,
            held_total: row.try_get("held_total")?,
            replicas: others + 1,
        };
        leases.push(Lease { granted: grant(wish, &spent), spent });
    }
    let held: Vec<i64> =
        wishes.iter().zip(&leases).map(|(w, lease)| w.wish.held + w.wish.unused + lease.granted).collect();
    query(
        "insert into campaign_lease (replica, account, campaign, currency, day, held, at)
         select $5, w.*, now_ms() from unnest($1::int[], $2::text[], $3::text[], $4::int[], $6::bigint[]) w
         on conflict (account, campaign, currency, day, replica) do update set held = excluded.held, at = excluded.at",
    )
    .bind(&accounts)
    .bind(&campaigns)
    .bind(&currencies)
    .bind(&days)
    .bind(replica)
    .bind(held)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(leases)
}

/// Counts what outcomes bill to budgets, in one order as whoever divides them.
pub(super) async fn charge(tx: &mut PgConnection, new: impl Iterator<Item = &Outcome>) -> Result<(), Error> {
    let mut sums: BTreeMap<(i32, &str, String, i32), (i64, i64)> = BTreeMap::new();
    for (outcome, charge) in new.filter_map(|outcome| Some((outcome, outcome.charge?))) {
        let Some(campaign) = &outcome.campaign else { continue };
        let key = (outcome.account.cast_signed(), campaign.as_str(), charge.currency.to_string(), charge.day);
        let (cost, count) = sums.entry(key).or_default();
        (*cost, *count) = (cost.saturating_add(charge.cost), *count + 1);
    }
    if sums.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($value:expr) => {
            sums.iter().map($value).collect::<Vec<_>>()
        };
    }
    query(
        "insert into campaign_spend as s (account, campaign, currency, day, spent, impressions)
         select * from unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::bigint[])
         on conflict (account, campaign, currency, day)
         do update set spent = s.spent + excluded.spent, impressions = s.impressions + excluded.impressions",
    )
    .bind(column!(|(key, _)| key.0))
    .bind(column!(|(key, _)| key.1))
    .bind(column!(|(key, _)| key.2.as_str()))
    .bind(column!(|(key, _)| key.3))
    .bind(column!(|(_, sum)| sum.0))
    .bind(column!(|(_, sum)| sum.1))
    .execute(tx)
    .await
    .map(drop)
}
