//! Keys that are one person.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;
use sqlx::query_scalar;
use tessera::{
    domain::{
        audience::caps::CapRing,
        ids::{NameHash, SegmentKey, Uid, UserKey},
        values::Millis,
    },
    ports::{
        AccountRow, BackfillStep, Change, EventBatch, FoundProfile, FoundRecord, Ingested, Join, Joined, MemberChange,
        Membership, Merge, Merged, Parts, ProfileWritten, StandingStep, UploadMode, UserRow,
    },
    store::Opened,
};

use crate::{
    events::{done, event, fold, send, stream, times},
    outcomes::{impression, record, seen},
    people::{load, profile, row, traits, upload},
    suite::{Place, now, position, recovered, somebody, told},
};

type Person = (UserKey, Uid);

/// Joins times and impressions, which hide no repeat; traits of the person stay.
fn join() -> Join {
    Arc::new(|own, other, _| {
        let mut all = [times(&own.row.packed), times(&other.row.packed)].concat();
        all.sort_unstable();
        let packed = all.into_iter().flat_map(i64::to_le_bytes).collect();
        let mut caps = CapRing::decode(&own.row.caps).ok()?;
        caps.merge(&CapRing::decode(&other.row.caps).ok()?);
        let empty = own.traits.as_object().is_none_or(serde_json::Map::is_empty);
        let traits = if empty { &other.traits } else { &own.traits }.clone();
        Some(Parts { row: UserRow { packed, caps: caps.encode(), ..own.row.clone() }, traits })
    })
}

async fn merge(store: &Opened, account: &AccountRow, from: &Person, into: &Person) -> Merged {
    tell(store, account, from, into, false).await
}

async fn tell(store: &Opened, account: &AccountRow, from: &Person, into: &Person, unclaimed: bool) -> Merged {
    let of = |(key, uid): &Person| (*uid, key.clone());
    let merge = Merge { from: of(from), into: of(into), join: join(), unclaimed };
    store.users.merge(account.number, merge).await.expect("an answer")
}

async fn joined(store: &Opened, account: &AccountRow, from: &Person, into: &Person) -> Joined {
    match merge(store, account, from, into).await {
        Merged::Done(joined) => *joined,
        other => panic!("{other:?}"),
    }
}

fn list(name: &str) -> SegmentKey {
    name.parse().expect("a segment")
}

async fn enter(store: &Opened, account: &AccountRow, name: &str, (key, uid): &Person, until: Option<i64>) -> u64 {
    let change = Membership::In { expires_at: until.map(Millis) };
    let change = MemberChange { uid: *uid, key: key.clone(), change };
    store.users.change_members(account.number, list(name), vec![change]).await.expect("an answer").changed
}

fn accepted(became: &[Ingested]) -> usize {
    became.iter().filter(|became| **became == Ingested::Accepted).count()
}

pub(crate) async fn two_keys_become_one_person(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (anonymous, anna) = (somebody(&account), somebody(&account));
    let before: Vec<_> = (0..3).map(|at| event(&anonymous, &account, now().plus(-at))).collect();
    done(send(&store, &account, 0, before.clone()).await);
    done(send(&store, &account, 0, vec![event(&anna, &account, now().plus(-9))]).await);
    store.users.write_profiles(account.number, vec![traits(&anonymous.0, anonymous.1, 1, 7)]).await.expect("an answer");
    let mut written = traits(&anna.0, anna.1, 1, 30);
    written.packed = load(&store, &account, anna.1).await.expect("known").packed;
    store.users.write_profiles(account.number, vec![written.clone()]).await.expect("an answer");
    // the traits' write above took the place of the anonymous one's events in this store of times
    let mut restored = traits(&anonymous.0, anonymous.1, 2, 7);
    restored.packed = before.iter().rev().flat_map(|event| event.event.at.0.to_le_bytes()).collect();
    store.users.write_profiles(account.number, vec![restored]).await.expect("an answer");
    for (name, person, until) in [
        ("gold", &anonymous, None),
        ("both", &anonymous, Some(9)),
        ("both", &anna, Some(5)),
        ("ends", &anonymous, Some(9)),
        ("ends", &anna, None),
    ] {
        assert_eq!(enter(&store, &account, name, person, until).await, 1);
    }
    for person in [&anonymous, &anna] {
        store.outcomes.record(vec![impression(&account, Some(person.1))]).await.expect("an answer");
    }
    let kept = Some((vec![1, 2, 3], Millis(i64::MAX)));
    let (number, uid) = (account.number, anonymous.1);
    let step = StandingStep { account: number, uid, seen: None, base: 0, kept, told: Vec::new() };
    store.transitions.step(vec![step]).await.expect("an answer");
    let cursor = &mut position(&store).await;
    let done_so = joined(&store, &account, &anonymous, &anna).await;
    assert_eq!((done_so.uid, &done_so.key), (anna.1, &anna.0));
    assert_eq!(done_so.told, Some(vec![1, 2, 3]), "what was told of the key is told to be over");
    let (other, own) = (done_so.other.expect("known"), done_so.before.expect("known"));
    assert_eq!((times(&other.packed).len(), times(&own.packed).len()), (3, 1));
    assert!(done_so.after.version > other.version.max(own.version), "newer than either");
    let changed = |uid, version| Change::Person { account: account.number, uid, version };
    let expected = [changed(anna.1, done_so.after.version), changed(anonymous.1, done_so.from_version)];
    told(&store, cursor, |all| expected.iter().all(|change| all.contains(change))).await;

    let person = load(&store, &account, anna.1).await.expect("known");
    assert_eq!(person.merged_into, None);
    assert_eq!((times(&person.packed).len(), seen(&person.caps), person.version), (4, 2, done_so.after.version));
    let until =
        |name: &str| person.lists.iter().find(|listed| listed.list == NameHash::of(name)).expect("listed").until;
    assert_eq!([until("gold"), until("both"), until("ends")], [Millis::NEVER, Millis(9), Millis::NEVER]);
    let read = profile(&store, &account, anna.1).await.expect("known");
    assert_eq!((read.traits, read.lists.len()), (written.traits, 3));
    // the other key leads there, in the same read and together with others
    let led = load(&store, &account, anonymous.1).await.expect("known");
    assert_eq!(led, UserRow { merged_into: Some(anna.1), ..person.clone() });
    let asked = [anonymous.1, anna.1, Uid(5)].map(|uid| (account.number, uid)).to_vec();
    assert_eq!(recovered(|| store.users.load(asked.clone())).await.len(), 2);
    let found = store.users.profile(account.number, anonymous.1).await.expect("an answer");
    assert_eq!(found, FoundProfile::Merged(anna.1, anna.0.clone()));
    let everybody = store.crowds.scan(account.number, None, 10).await.expect("a page");
    assert_eq!(everybody.iter().map(|who| who.uid).collect::<Vec<_>>(), [anna.1], "one person, once");
    assert_eq!(store.users.members(account.number, list("gold"), None, 10).await.expect("an answer").len(), 1);

    // Again, the other way round, and by way of a third.
    let version = person.version;
    let already = Merged::Already { into: anna.0.clone(), version };
    assert_eq!(merge(&store, &account, &anonymous, &anna).await, already);
    assert_eq!(merge(&store, &account, &anna, &anonymous).await, already, "nobody is merged into themselves");
    assert_eq!(load(&store, &account, anna.1).await.expect("known"), person);
    let married = somebody(&account);
    done(send(&store, &account, 0, vec![event(&married, &account, now())]).await);
    joined(&store, &account, &anna, &married).await;
    for key in [&anonymous, &anna] {
        let led = load(&store, &account, key.1).await.expect("known");
        assert_eq!((led.merged_into, times(&led.packed).len()), (Some(married.1), 5), "one look is enough");
    }
}

pub(crate) async fn whatever_comes_later_is_about_the_person(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (anonymous, anna) = (somebody(&account), somebody(&account));
    done(send(&store, &account, 0, vec![event(&anonymous, &account, now().plus(-50))]).await);
    let old_record = record(&account, Some(anonymous.1));
    store.outcomes.keep(vec![old_record.clone()]).await.expect("kept");
    // Nothing is known of the person yet.
    let joined = joined(&store, &account, &anonymous, &anna).await;
    assert_eq!(joined.before, None);
    let events: Vec<_> = (0..4).map(|at| event(&anonymous, &account, now().plus(-at))).collect();
    let late = events.iter().cloned().chain([event(&anna, &account, now().plus(-9))]).collect();
    let (became, people) = done(send(&store, &account, 0, late).await);
    assert_eq!((accepted(&became), people.len(), people[0].uid), (5, 1, anna.1));
    assert_eq!(accepted(&done(send(&store, &account, 0, events).await).0), 0, "repeats are repeats");
    assert_eq!(enter(&store, &account, "gold", &anonymous, None).await, 1);
    assert_eq!(enter(&store, &account, "gold", &anna, None).await, 0);
    let shown = impression(&account, Some(anonymous.1));
    store.outcomes.record(vec![shown.clone(), impression(&account, Some(anna.1))]).await.expect("an answer");
    let kept = record(&account, Some(anonymous.1));
    store.outcomes.keep(vec![kept.clone()]).await.expect("kept");
    let uploaded = upload(&store, &account, "crm", UploadMode::Add, vec![row(&anonymous, None)]).await;
    assert_eq!(uploaded.iter().map(|step| step.moved.changed).sum::<u64>(), 1);
    let person = load(&store, &account, anna.1).await.expect("known");
    assert_eq!((times(&person.packed).len(), seen(&person.caps), person.lists.len()), (6, 2, 2));
    let members = store.users.members(account.number, list("crm"), None, 10).await.expect("an answer");
    assert_eq!(members, [(anna.1, anna.0.clone(), None)]);
    let outcome = store.outcomes.outcomes_of(account.number, shown.decision).await.expect("an answer");
    assert_eq!(outcome[0].person, Some(anna.1));
    let stale = traits(&anonymous.0, anonymous.1, joined.from_version - 1, 1);
    let written = store.users.write_profiles(account.number, vec![stale]).await.expect("an answer");
    assert_eq!(written, [ProfileWritten::Moved], "who wrote for the key has to read again");
    assert_eq!(
        upload(&store, &account, "crm", UploadMode::Remove, vec![row(&anonymous, None)]).await.len(),
        1,
        "who enters by a key leaves by it"
    );

    // The history of a new stream: what was kept before the merge, and after it.
    store.events.add_streams(account.number, vec![stream(9)]).await.expect("added");
    let names = vec!["viewed".parse().expect("a name")];
    while store.events.backfill(account.number, 1, names.clone(), fold()).await.expect("a step") != BackfillStep::Live {
    }
    assert_eq!(times(&load(&store, &account, anna.1).await.expect("known").packed).len(), 12);

    // Erased under one key, gone under both.
    let erased = store.users.erase(account.number, anonymous.1).await.expect("an answer");
    assert_eq!(erased.uids.iter().collect::<BTreeSet<_>>(), [&anonymous.1, &anna.1].into());
    for key in [&anonymous, &anna] {
        assert_eq!(load(&store, &account, key.1).await, None);
        assert_eq!(store.users.profile(account.number, key.1).await.expect("an answer"), FoundProfile::Erased);
        let (became, _) = done(send(&store, &account, 1, vec![event(key, &account, now())]).await);
        assert_eq!(became, [Ingested::Erased]);
    }
    for of in [&old_record, &kept] {
        assert_eq!(store.outcomes.find(account.number, of.decision).await.expect("an answer"), FoundRecord::Erased);
    }
    assert_eq!(store.events.erase_events(Some((account.number, erased.uids))).await.expect("an answer"), 6);
    let mut connection = place.connect().await;
    let left: i64 = query_scalar("select count(*) from event where account = $1")
        .bind(account.number.cast_signed())
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(left, 0);
}

pub(crate) async fn a_merge_is_refused_where_it_must_be(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let [shared, anna, ben, erased] = [0; 4].map(|_| somebody(&account));
    joined(&store, &account, &shared, &anna).await;
    done(send(&store, &account, 0, vec![event(&shared, &account, now())]).await);
    let before = load(&store, &account, anna.1).await;
    assert_eq!(merge(&store, &account, &shared, &ben).await, Merged::Elsewhere(anna.0.clone()));
    assert_eq!(load(&store, &account, ben.1).await, None, "a refused merge makes nobody");
    store.users.erase(account.number, erased.1).await.expect("an answer");
    assert_eq!(merge(&store, &account, &erased, &anna).await, Merged::Erased);
    assert_eq!(merge(&store, &account, &anna, &erased).await, Merged::Erased);
    assert_eq!(load(&store, &account, anna.1).await, before);
    let unreadable: Join = Arc::new(|_: &Parts, _: &Parts, _| None);
    let of = |(key, uid): &Person| (*uid, key.clone());
    let refused = Merge { from: of(&ben), into: of(&anna), join: unreadable, unclaimed: false };
    store.users.merge(account.number, refused).await.expect_err("nobody can read them");
    assert_eq!(load(&store, &account, anna.1).await, before);
}

pub(crate) async fn who_is_known_is_claimed_by_nobody(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let [anna, unknown, shown, quiet, listed, led] = [0; 6].map(|_| somebody(&account));
    store.outcomes.record(vec![impression(&account, Some(shown.1))]).await.expect("an answer");
    // no rule asks for the event, so that the profile has nothing but its format
    let events = vec![event(&quiet, &account, now())];
    let batch = EventBatch { account: account.number, epoch: 0, events, fold: Arc::new(|_, _| vec![1]) };
    done(store.events.ingest(batch).await.expect("an answer"));
    enter(&store, &account, "vip", &listed, None).await;
    joined(&store, &account, &somebody(&account), &led).await;
    for known in [&quiet, &listed, &led] {
        let told = tell(&store, &account, known, &anna, true).await;
        assert_eq!(told, Merged::Elsewhere(known.0.clone()));
    }
    for free in [&unknown, &shown] {
        assert!(matches!(tell(&store, &account, free, &anna, true).await, Merged::Done(_)));
    }
}

pub(crate) async fn nothing_is_lost_or_doubled_beside_other_writers(place: Arc<Place>) {
    const KEYS: usize = 12;
    let (store, account) = place.account().await;
    let (other, anna) = (place.open(), somebody(&account));
    let keys: Vec<Person> = (0..KEYS).map(|_| somebody(&account)).collect();
    let mut tasks = tokio::task::JoinSet::new();
    // Two replicas write under every key, while the keys become one person, some by way of others.
    for task in 0..4_usize {
        let (store, account, mut keys) =
            (if task % 2 == 0 { store.clone() } else { other.clone() }, account.clone(), keys.clone());
        keys.push(anna.clone());
        tasks.spawn(async move {
            let mut sent = 0;
            for round in 0..15_i64 {
                let mut batch: Vec<_> =
                    keys.iter().map(|key| event(key, &account, now().plus(-round - 100 * task as i64))).collect();
                batch.rotate_left(task * 3);
                sent += accepted(&done(send(&store, &account, 0, batch).await).0);
                let mut shown: Vec<_> = keys.iter().map(|key| impression(&account, Some(key.1))).collect();
                shown.truncate(4);
                store.outcomes.record(shown).await.expect("an answer");
            }
            sent
        });
    }
    for (at, key) in keys.iter().enumerate() {
        let (of, into) = (if at % 2 == 0 { &store } else { &other }, if at % 3 == 0 { &anna } else { &keys[at - 1] });
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        joined(of, &account, key, into).await;
    }
    let sent: usize = tasks.join_all().await.into_iter().sum();
    assert_eq!(sent, 4 * 15 * (KEYS + 1));
    let person = load(&store, &account, anna.1).await.expect("known");
    assert_eq!(times(&person.packed).len(), sent, "every event once");
    assert_eq!(seen(&person.caps), 64, "impressions up to the number kept");
    for key in &keys {
        assert_eq!(
            load(&store, &account, key.1).await.expect("known"),
            UserRow { merged_into: Some(anna.1), ..person.clone() }
        );
    }
    let traits: Value = profile(&store, &account, anna.1).await.expect("known").traits;
    assert_eq!(traits, serde_json::json!({}));
}
