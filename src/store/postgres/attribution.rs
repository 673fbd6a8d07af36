//! Which conversions are a campaign's own: what was clicked and seen before them.

use std::collections::{BTreeMap, HashSet};

use sqlx::{Error, PgConnection, Row, postgres::PgRow, query, query_as, types::Uuid};

use super::identity::WRITE_ABOUT_PEOPLE;
use crate::{
    domain::{
        ids::{CampaignId, DecisionId, EventName},
        measurement::{
            attribution::{Credit, EARLY_MS, Touches, Unattributed},
            beacon::decided_at,
            outcome::{Outcome, OutcomeKind},
        },
        values::Millis,
    },
    ports::{Sought, Touched},
    store::rows,
};

/// An outcome and, of a conversion, what it is to its campaign.
pub(super) type Judged<'a> = (&'a Outcome, Option<Credit>);

/// What makes an outcome the same as another.
pub(super) type Identity = (i32, Uuid, i16, Uuid);

pub(super) fn identity(outcome: &Outcome) -> Identity {
    (
        outcome.account.cast_signed(),
        outcome.decision.0,
        outcome.kind.number().into(),
        Uuid::from_u128(outcome.discriminator),
    )
}

/// The UTC day on which a decision was made, since 1970-01-01.
pub(super) fn day(decision: DecisionId) -> i32 {
    decided_at(decision).0.div_euclid(86_400_000) as i32
}

/// Conversions looked at again at a time.
const MOST: i64 = 1_000;
/// For how long it is looked again, in ms.
const PATIENCE_MS: i64 = 48 * 3_600_000;

/// Judges conversions that count at all, by what was counted before and by what is in the same batch.
pub(super) async fn judge<'a>(tx: &mut PgConnection, outcomes: &'a [Outcome]) -> Result<Vec<Judged<'a>>, Error> {
    let judged = |outcome: &&Outcome| outcome.kind == OutcomeKind::Conversion && outcome.invalid.is_none();
    let conversions: Vec<&Outcome> = outcomes.iter().filter(judged).collect();
    let mut touches = touches(tx, &conversions).await?;
    for outcome in outcomes.iter().filter(|outcome| outcome.invalid.is_none()) {
        if let Some(known) = touches.get_mut(&(outcome.account, outcome.decision)) {
            note(known, outcome.kind, outcome.at);
        }
    }
    Ok(outcomes.iter().map(|outcome| (outcome, judged(&outcome).then(|| credit(outcome, &touches)))).collect())
}

/// What is known of decisions.
type Known = BTreeMap<(u32, DecisionId), Touches>;

fn credit(outcome: &Outcome, touches: &Known) -> Credit {
    let touches = touches.get(&(outcome.account, outcome.decision)).copied().unwrap_or_default();
    Credit::of(&outcome.terms, outcome.goal.as_ref(), decided_at(outcome.decision), touches, outcome.at)
}

fn note(touches: &mut Touches, kind: OutcomeKind, at: Millis) {
    let own = match kind {
        OutcomeKind::Impression => &mut touches.impression,
        OutcomeKind::Click => &mut touches.click,
        _ => return,
    };
    *own = Some(own.map_or(at, |known| known.min(at)));
}

async fn touches(tx: &mut PgConnection, conversions: &[&Outcome]) -> Result<Known, Error> {
    let mut known: Known =
        conversions.iter().map(|outcome| ((outcome.account, outcome.decision), Touches::default())).collect();
    if known.is_empty() {
        return Ok(known);
    }
    let rows: Vec<(i32, Uuid, i16, i64)> = query_as(
        "select k.account, k.decision, o.kind, o.at
         from unnest($1::int[], $2::int[], $3::uuid[]) k (day, account, decision) cross join lateral (
             select kind, at from outcome
             where account = k.account and decision = k.decision and day = k.day and kind in (0, 2)
               and invalid is null) o",
    )
    .bind(known.keys().map(|(_, decision)| day(*decision)).collect::<Vec<_>>())
    .bind(known.keys().map(|(account, _)| account.cast_signed()).collect::<Vec<_>>())
    .bind(known.keys().map(|(_, decision)| decision.0).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    for (account, decision, kind, at) in rows {
        let kind = if kind == 0 { OutcomeKind::Impression } else { OutcomeKind::Click };
        if let Some(touches) = known.get_mut(&(account.cast_unsigned(), DecisionId(decision))) {
            note(touches, kind, Millis(at));
        }
    }
    Ok(known)
}

/// Keeps apart the conversions that are not their campaign's.
pub(super) async fn keep_apart(
    tx: &mut PgConnection,
    judged: impl Iterator<Item = Judged<'_>>,
    now: Millis,
) -> Result<(), Error> {
    let apart: Vec<_> = judged
        .filter_map(|(outcome, credit)| Some((outcome, credit.filter(|credit| !credit.counts())?)))
        .filter_map(|(outcome, credit)| Some((outcome, credit, outcome.campaign.as_ref()?)))
        .collect();
    if apart.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($outcome:ident => $value:expr) => {
            apart.iter().map(|($outcome, ..)| $value).collect::<Vec<_>>()
        };
    }
    query(
        "insert into unattributed (day, account, decision, discriminator, at, credit, terms, campaign, creative, revision,
                                   combination, person, goal, value_micros, exposure, look_at, came)
         select u.day, u.account, u.decision, u.discriminator, u.at, u.credit, u.terms::json, u.campaign, u.creative,
                u.revision, u.combination, case when p.erased_at is null then coalesce(p.merged_into, u.person) end,
                u.goal, u.value_micros, u.exposure, case when u.credit = 2 then now_ms() + 1000 end, $16
         from unnest($1::int[], $2::int[], $3::uuid[], $4::uuid[], $5::bigint[], $6::smallint[], $7::text[], $8::text[],
                     $9::text[], $10::bigint[], $11::bigint[], $12::uuid[], $13::text[], $14::bigint[], $15::bytea[])
              u (day, account, decision, discriminator, at, credit, terms, campaign, creative, revision, combination,
                 person, goal, value_micros, exposure)
         left join profile p on p.account = u.account and p.uid = u.person
         on conflict do nothing",
    )
    .bind(column!(o => day(o.decision)))
    .bind(column!(o => o.account.cast_signed()))
    .bind(column!(o => o.decision.0))
    .bind(column!(o => Uuid::from_u128(o.discriminator)))
    .bind(column!(o => o.at.0))
    .bind(apart.iter().map(|(_, credit, _)| i16::from(credit.number())).collect::<Vec<_>>())
    .bind(column!(o => serde_json::to_string(&o.terms).unwrap_or_default()))
    .bind(apart.iter().map(|(.., campaign)| campaign.as_str()).collect::<Vec<_>>())
    .bind(column!(o => o.creative.as_str()))
    .bind(column!(o => i64::from(o.revision)))
    .bind(column!(o => o.combination.cast_signed()))
    .bind(column!(o => o.measured_person().map(|person| person.as_uuid())))
    .bind(column!(o => o.goal.as_ref().map(|goal| goal.as_str())))
    .bind(column!(o => o.value_micros))
    .bind(column!(o => o.exposure.as_deref().map(<[u8]>::to_vec)))
    .bind(now.0)
    .execute(tx)
    .await
    .map(drop)
}

/// The outcomes that count once in their account whatever the decision, and were counted before
/// for another one, here or in this batch. Those that are their campaign's go before others, also before
/// one that came earlier and is kept apart.
pub(super) async fn taken_across_decisions<'a>(
    tx: &mut PgConnection,
    judged: impl Iterator<Item = Judged<'a>>,
) -> Result<HashSet<Identity>, Error> {
    let mut wide: Vec<(Identity, bool)> = judged
        .filter(|(outcome, _)| outcome.across_decisions)
        .map(|(outcome, credit)| (identity(outcome), credit.is_some_and(Credit::counts)))
        .collect();
    if wide.is_empty() {
        return Ok(HashSet::new());
    }
    wide.sort_unstable_by_key(|((account, decision, _, key), counts)| (*account, *key, !counts, *decision));
    // of each key the first one may own it
    let mut firsts = wide.clone();
    firsts.dedup_by_key(|((account, _, _, key), _)| (*account, *key));
    macro_rules! column {
        ($of:expr, $value:expr) => {
            $of.iter().map($value).collect::<Vec<_>>()
        };
    }
    // A row that is there already is written over with itself, so that it is returned too.
    let owners = query(
        "insert into conversion_key as k (account, key, decision)
         select * from unnest($1::int[], $2::uuid[], $3::uuid[]) c (account, key, decision)
         on conflict (account, key) do update set decision = k.decision
         returning account, key, decision",
    )
    .bind(column!(firsts, |(one, _)| one.0))
    .bind(column!(firsts, |(one, _)| one.3))
    .bind(column!(firsts, |(one, _)| one.1))
    .fetch_all(&mut *tx)
    .await?;
    let owners = owners.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?)));
    let mut owners: BTreeMap<(i32, Uuid), Uuid> = owners.collect::<Result<_, Error>>()?;
    let lesser: Vec<(Identity, Uuid)> = firsts
        .iter()
        .filter(|(_, counts)| *counts)
        .filter_map(|(one, _)| Some((*one, *owners.get(&(one.0, one.3))?)))
        .filter(|(one, owner)| one.1 != *owner)
        .collect();
    if !lesser.is_empty() {
        owners.extend(take_over(tx, &lesser).await?);
    }
    let others = |(account, decision, _, key): &Identity| owners.get(&(*account, *key)) != Some(decision);
    Ok(wide.into_iter().map(|(one, _)| one).filter(others).collect())
}

/// Gives keys to conversions that are their campaign's, where the decision beside each owns its key by
/// one that is kept apart, and keeps that apart no longer. Answers the keys with their new owners.
async fn take_over(tx: &mut PgConnection, lesser: &[(Identity, Uuid)]) -> Result<Vec<((i32, Uuid), Uuid)>, Error> {
    macro_rules! column {
        ($value:expr) => {
            lesser.iter().map($value).collect::<Vec<_>>()
        };
    }
    let rows = query(
        "with k as (select * from unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[], $5::int[])
                    k (account, key, decision, owner, day)),
              gone as (delete from unattributed u using k join outcome o
                  on o.account = k.account and o.decision = k.owner and o.day = k.day and o.kind = 3
                     and o.discriminator = k.key
                  where (u.account, u.campaign, u.day, u.decision, u.discriminator)
                      = (k.account, o.campaign, k.day, k.owner, k.key)
                  returning k.account, k.key, k.decision)
         update conversion_key c set decision = gone.decision from gone
         where c.account = gone.account and c.key = gone.key returning c.account, c.key, c.decision",
    )
    .bind(column!(|(one, _)| one.0))
    .bind(column!(|(one, _)| one.3))
    .bind(column!(|(one, _)| one.1))
    .bind(column!(|(_, owner)| *owner))
    .bind(column!(|(_, owner)| day(DecisionId(*owner))))
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?))).collect()
}

/// Looks again at conversions without a click or view. Those that have one now are kept apart no longer
/// and answered. How often it is looked is up to the store's clock, for how long to the one that tells `now`.
pub(super) async fn settle(tx: &mut PgConnection, now: Millis) -> Result<Vec<(Outcome, Option<Credit>)>, Error> {
    query(WRITE_ABOUT_PEOPLE).execute(&mut *tx).await?;
    let due =
        query("select * from unattributed where look_at <= now_ms() order by look_at limit $1 for update skip locked")
            .bind(MOST)
            .fetch_all(&mut *tx)
            .await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let outcomes = due.iter().map(conversion).collect::<Result<Vec<_>, _>>()?;
    let judged = judge(tx, &outcomes).await?;
    macro_rules! column {
        ($($judged:pat_param)|+ => $value:expr) => {
            judged.iter().map(|$($judged)|+| $value).collect::<Vec<_>>()
        };
    }
    query(
        "with k as (select * from unnest($1::int[], $2::text[], $3::int[], $4::uuid[], $5::uuid[], $6::smallint[])
                    k (account, campaign, day, decision, discriminator, credit)),
              gone as (delete from unattributed u using k
                  where (u.account, u.campaign, u.day, u.decision, u.discriminator)
                      = (k.account, k.campaign, k.day, k.decision, k.discriminator) and k.credit < 2),
              later as (update unattributed u set look_at =
                      case when $8 < coalesce(u.came, u.since) + $7 then now_ms() + greatest(1000, now_ms() - u.since) end
                  from k where (u.account, u.campaign, u.day, u.decision, u.discriminator)
                      = (k.account, k.campaign, k.day, k.decision, k.discriminator) and k.credit >= 2)
         update outcome o set credit = k.credit from k
         where o.account = k.account and o.decision = k.decision and o.kind = 3 and o.discriminator = k.discriminator
           and o.day = k.day and k.credit < 2",
    )
    .bind(column!((o, _) => o.account.cast_signed()))
    .bind(column!((o, _) => o.campaign.as_ref().map(|campaign| campaign.as_str().to_owned())))
    .bind(column!((o, _) => day(o.decision)))
    .bind(column!((o, _) => o.decision.0))
    .bind(column!((o, _) => Uuid::from_u128(o.discriminator)))
    .bind(column!((_, credit) => credit.map(|credit| i16::from(credit.number()))))
    .bind(PATIENCE_MS)
    .bind(now.0)
    .execute(&mut *tx)
    .await?;
    let found = judged.iter().filter(|(_, credit)| credit.is_some_and(Credit::counts));
    Ok(found.map(|(outcome, credit)| (Outcome::clone(outcome), *credit)).collect())
}

/// A conversion that was kept apart.
fn conversion(row: &PgRow) -> Result<Outcome, Error> {
    let goal: Option<EventName> = match row.try_get::<Option<&str>, _>("goal")? {
        Some(_) => Some(rows::parsed(row, "goal")?),
        None => None,
    };
    Ok(Outcome {
        account: rows::account(row, "account")?,
        decision: DecisionId(row.try_get("decision")?),
        kind: OutcomeKind::Conversion,
        discriminator: row.try_get::<Uuid, _>("discriminator")?.as_u128(),
        across_decisions: false,
        at: Millis(row.try_get("at")?),
        campaign: Some(rows::parsed(row, "campaign")?),
        creative: rows::parsed(row, "creative")?,
        revision: row.try_get::<i64, _>("revision")? as u32,
        combination: row.try_get::<i64, _>("combination")?.cast_unsigned(),
        person: rows::maybe_uid(row, "person")?,
        measured: true,
        cap_window: None,
        value_micros: row.try_get("value_micros")?,
        goal,
        invalid: None,
        by_pixel: false,
        exposure: row.try_get::<Option<Vec<u8>>, _>("exposure")?.map(Into::into),
        terms: serde_json::from_value(rows::json(row, "terms")?).unwrap_or_default(),
        charge: None,
    })
}

/// What each person last clicked of a campaign within its window, else last saw.
pub(super) async fn touched(
    connection: &mut PgConnection,
    account: u32,
    sought: Vec<Sought>,
) -> Result<Vec<Option<Touched>>, Error> {
    let rows = query(
        "select k.place, o.* from unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[]) with ordinality
              k (person, campaign, at, click, view, place)
         left join profile p on p.account = $1 and p.uid = k.person
         -- what was done under keys that lead to the person now is theirs
         cross join lateral (select array(
             select coalesce(p.merged_into, k.person) union all
             select uid from profile where account = $1 and merged_into = coalesce(p.merged_into, k.person)) as uids) l
         cross join lateral (
             select decision, creative, revision, combination, person, exposure from outcome
             where account = $1 and person = any(l.uids) and campaign = k.campaign and invalid is null
               and (kind = 2 and at >= k.at - k.click or kind = 0 and at >= k.at - k.view) and at <= k.at + $7
               and day >= (k.at - greatest(k.click, k.view)) / 86400000 - 31 and day <= (k.at + $7) / 86400000
             order by kind desc, at desc limit 1) o",
    )
    .bind(account.cast_signed())
    .bind(sought.iter().map(|one| one.person.as_uuid()).collect::<Vec<_>>())
    .bind(sought.iter().map(|one| one.campaign.as_str()).collect::<Vec<_>>())
    .bind(sought.iter().map(|one| one.at.0).collect::<Vec<_>>())
    .bind(sought.iter().map(|one| one.terms.click.millis()).collect::<Vec<_>>())
    .bind(sought.iter().map(|one| one.terms.view.map(|view| view.millis())).collect::<Vec<_>>())
    .bind(EARLY_MS)
    .fetch_all(connection)
    .await?;
    let mut found: Vec<Option<Touched>> = sought.iter().map(|_| None).collect();
    for row in &rows {
        let place = usize::try_from(row.try_get::<i64, _>("place")? - 1).unwrap_or_default();
        found[place] = Some(Touched {
            decision: DecisionId(row.try_get("decision")?),
            creative: rows::parsed(row, "creative")?,
            revision: row.try_get::<i64, _>("revision")? as u32,
            combination: row.try_get::<i64, _>("combination")?.cast_unsigned(),
            person: rows::maybe_uid(row, "person")?,
            exposure: row.try_get::<Option<Vec<u8>>, _>("exposure")?.map(Into::into),
        });
    }
    Ok(found)
}

/// Conversions of a campaign that are not its own.
pub(super) async fn unattributed(
    connection: &mut PgConnection,
    account: u32,
    campaign: CampaignId,
    days: (i32, i32),
) -> Result<Unattributed, Error> {
    let rows: Vec<(i16, i64)> = query_as(
        "select credit, count(*) from unattributed
         where account = $1 and campaign = $2 and day >= $3 and day < $4 group by credit",
    )
    .bind(account.cast_signed())
    .bind(campaign.as_str())
    .bind(days.0)
    .bind(days.1)
    .fetch_all(connection)
    .await?;
    let mut counts = Unattributed::default();
    for (number, count) in rows {
        let credit = Credit::ALL.into_iter().find(|credit| i16::from(credit.number()) == number);
        credit.into_iter().for_each(|credit| counts.add(credit, count.unsigned_abs()));
    }
    Ok(counts)
}
