//! Lessons and the log of decisions.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection};
use tessera::{
    domain::values::Millis,
    ports::{Learned, LogQuery, LoggedDecision, Measured, StoreError, Subject},
    store::Opened,
};
use tokio::time::timeout;

use crate::suite::{Place, decision, now};

async fn leave(connection: &mut PgConnection, subject: &Subject) {
    sqlx::query(
        "insert into lesson (account, campaign, creative, decision, kind, revision, combination, exposure)
         values ($1, $2, $3, gen_random_uuid(), 0, 1, 1, '')",
    )
    .bind(subject.account.cast_signed())
    .bind(subject.campaign.as_str())
    .bind(subject.creative.as_str())
    .execute(connection)
    .await
    .expect("a lesson");
}

async fn learn(store: &Opened, subject: &Subject) -> Result<Option<usize>, StoreError> {
    let call = store.learning.learn(subject.clone(), 100, Box::new(|_, _| Ok(Learned::default())));
    timeout(Duration::from_secs(10), call).await.expect("at once")
}

pub(crate) async fn are_learned_from_by_one_and_nobody_waits(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let subject = |campaign: &str| Subject {
        account: account.number,
        campaign: campaign.parse().expect("an id"),
        creative: "hero".parse().expect("an id"),
    };
    let (held, free) = (subject("held"), subject("free"));
    let (mut connection, mut other) = (place.connect().await, place.connect().await);
    leave(&mut connection, &held).await;
    leave(&mut connection, &free).await;
    // somebody takes long about one of them
    let mut lock = other.begin().await.expect("a transaction");
    sqlx::query("select pg_advisory_xact_lock(hashtextextended(concat_ws('/', $1::int, 'held', 'hero'), 7))")
        .bind(account.number.cast_signed())
        .execute(&mut *lock)
        .await
        .expect("a lock");
    assert!(matches!(learn(&store, &held).await, Ok(None)));
    assert!(matches!(learn(&store, &free).await, Ok(Some(1))));
    lock.rollback().await.expect("let go");
    // what is refused stays, as long as it is
    let refuse = Box::new(|_, _| Err(StoreError::Corrupt("of a newer version".into())));
    let refused = store.learning.learn(held.clone(), 100, refuse).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(why)) if why.contains("newer")));
    assert!(matches!(learn(&store, &held).await, Ok(Some(1))));
    assert!(matches!(learn(&store, &held).await, Ok(Some(0))));
}

pub(crate) async fn of_decisions_are_read_evenly_where_they_are_old_enough(place: Arc<Place>) {
    const DAY: i64 = 86_400_000;
    const EACH: usize = 400;
    let (store, account) = place.account().await;
    let today = Millis(now().0 / DAY * DAY);
    let logged = |at: Millis, creative: &str| LoggedDecision {
        account: account.number,
        decision: decision(at),
        campaign: "spring".parse().expect("an id"),
        creative: creative.parse().expect("an id"),
        person: None,
        version: 1,
        choice: vec![0],
        features: Vec::new(),
        eligible: vec![vec![0, 1]],
        propensity: 0.5,
        mixture: None,
    };
    let (mature, cut) = (today.plus(-DAY), today.plus(-3 * DAY));
    for day in 1..=5 {
        let at = |n: usize| today.plus(-day * DAY + n as i64 * 1_000);
        let rows = (0..EACH).map(|n| logged(at(n), if n % 4 == 0 { "slow" } else { "hero" }));
        store.learning.log(rows.collect()).await.expect("logged");
    }
    let first = (today.0 / DAY) as i32 - 5;
    let query = |most: u32| LogQuery {
        account: account.number,
        campaign: "spring".parse().expect("an id"),
        days: (first, first + 100),
        before: vec![("hero".parse().expect("an id"), mature)],
        otherwise: cut,
        measured: Measured::Clicks,
        most,
    };
    // of the one four days are old enough, of the other two
    let (hero, slow) = (4 * EACH * 3 / 4, 2 * EACH / 4);
    let all = store.learning.logged(query(10_000)).await.expect("a log");
    assert_eq!((all.rows.len(), all.count), (hero + slow, (hero + slow) as u64));
    assert_eq!(all.later, (5 * EACH - hero - slow) as u64);
    let time = |id: uuid::Uuid| Millis((id.as_u128() >> 80) as i64);
    for row in &all.rows {
        let bound = if row.logged.creative.as_str() == "hero" { mature } else { cut };
        assert!(time(row.logged.decision.0) < bound);
    }
    let some = store.learning.logged(query(300)).await.expect("a log");
    assert_eq!((some.rows.len(), some.count, some.later), (300, all.count, all.later));
    assert_eq!(store.learning.logged(query(300)).await.expect("a log"), some, "the same at each look");
    // as many of each day as there are: 400, 400, 300 and 300 of 1,400
    for (back, expected) in [(5, 85.7), (4, 85.7), (3, 64.3), (2, 64.3)] {
        let day = today.plus(-back * DAY);
        let of_day = some.rows.iter().filter(|row| (0..DAY).contains(&time(row.logged.decision.0).since(day))).count();
        assert!((of_day as f64 - expected).abs() < 35.0, "{of_day} of the day {back} ago");
    }
    let different: BTreeSet<_> = some.rows.iter().map(|row| row.logged.decision.0).collect();
    assert_eq!(different.len(), 300);
}
