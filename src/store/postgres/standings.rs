//! What was told of people whom time alone may move.

use std::collections::BTreeMap;

use sqlx::{Error, PgConnection, query, query_as, types::Uuid};

use crate::{domain::ids::Uid, ports::StandingStep};

type Key = (i32, Uuid);

/// Rows of one statement, column by column.
#[derive(Default)]
struct Columns {
    accounts: Vec<i32>,
    uids: Vec<Uuid>,
    packed: Vec<Vec<u8>>,
    due: Vec<i64>,
    bases: Vec<i64>,
}

impl Columns {
    fn push(&mut self, (account, uid): Key, packed: &[u8], due: i64, base: i64) {
        self.bases.push(base);
        self.accounts.push(account);
        self.uids.push(uid);
        self.packed.push(packed.to_vec());
        self.due.push(due);
    }
}

/// Writes the rows of steps. Answers those, sorted, whose row was another than the step rests on.
pub(super) async fn keep(tx: &mut PgConnection, steps: &[StandingStep]) -> Result<Vec<(u32, Uid)>, Error> {
    let steps: BTreeMap<Key, &StandingStep> =
        steps.iter().map(|step| ((step.account.cast_signed(), step.uid.as_uuid()), step)).collect();
    let (accounts, uids): (Vec<_>, Vec<_>) = steps.keys().copied().unzip();
    // in order, so that two replicas wait for one another at most
    let held: Vec<(i32, Uuid, i64)> = query_as(
        "select s.* from unnest($1::int[], $2::uuid[]) k (account, uid) cross join lateral (
             select account, uid, version from standing where account = k.account and uid = k.uid for update) s",
    )
    .bind(accounts)
    .bind(uids)
    .fetch_all(&mut *tx)
    .await?;
    let held: BTreeMap<Key, i64> = held.into_iter().map(|(account, uid, version)| ((account, uid), version)).collect();
    let (mut new, mut changed, mut gone) = (Columns::default(), Columns::default(), Columns::default());
    let mut passed = Vec::new();
    for (key, step) in steps {
        if held.get(&key).copied() != step.seen {
            passed.push(key);
            continue;
        }
        match (&step.kept, step.seen) {
            (Some((packed, due)), None) => new.push(key, packed, due.0, step.base),
            (Some((packed, due)), Some(_)) => changed.push(key, packed, due.0, step.base),
            (None, Some(_)) => gone.push(key, &[], 0, 0),
            (None, None) => {}
        }
    }
    passed.extend(insert(tx, new).await?);
    if !changed.uids.is_empty() {
        query(
            "update standing s set version = s.version + 1, packed = w.packed, due = w.due
             from unnest($1::int[], $2::uuid[], $3::bytea[], $4::bigint[]) w (account, uid, packed, due)
             where s.account = w.account and s.uid = w.uid",
        )
        .bind(changed.accounts)
        .bind(changed.uids)
        .bind(changed.packed)
        .bind(changed.due)
        .execute(&mut *tx)
        .await?;
    }
    if !gone.uids.is_empty() {
        query(
            "delete from standing s using unnest($1::int[], $2::uuid[]) w (account, uid)
             where s.account = w.account and s.uid = w.uid",
        )
        .bind(gone.accounts)
        .bind(gone.uids)
        .execute(&mut *tx)
        .await?;
    }
    passed.sort_unstable();
    Ok(passed.into_iter().map(|(account, uid)| (account.cast_unsigned(), Uid::from(uid))).collect())
}

/// Makes rows, but of nobody who was erased or merged; answers whose row was made by others meanwhile.
async fn insert(tx: &mut PgConnection, new: Columns) -> Result<Vec<Key>, Error> {
    if new.uids.is_empty() {
        return Ok(Vec::new());
    }
    query_as(
        "with w as materialized (
             select w.* from unnest($1::int[], $2::uuid[], $3::bytea[], $4::bigint[], $5::bigint[])
                 w (account, uid, packed, due, base)
             cross join lateral (
                 select from profile p where p.account = w.account and p.uid = w.uid
                     and p.erased_at is null and p.merged_into is null limit 1) known),
         made as (
             insert into standing (account, uid, version, base, packed, due)
             select account, uid, 1, base, packed, due from w order by account, uid
             on conflict do nothing returning account, uid)
         select account, uid from w except select account, uid from made",
    )
    .bind(new.accounts)
    .bind(new.uids)
    .bind(new.packed)
    .bind(new.due)
    .bind(new.bases)
    .fetch_all(tx)
    .await
}
