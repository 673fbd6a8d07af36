//! What was told of people whom time alone may move: told and kept together, by one replica only.

use std::{sync::Arc, time::Duration};

use tessera::{
    domain::{
        ids::{SegmentKey, Uid},
        values::Millis,
    },
    ports::{AccountRow, StandingRow, StandingStep, TransitionCursor, TransitionRead, TransitionRow, UploadMode},
    store::Opened,
};

use crate::{
    people::row as listed,
    suite::{Place, now, somebody},
    webhooks::known,
};

/// Long before anything else in the suite is due.
const EARLY: Millis = Millis(1_000);

fn segment() -> SegmentKey {
    "vip".parse().expect("a segment")
}

fn step(account: &AccountRow, uid: Uid, seen: Option<i64>, due: Option<Millis>, entered: &[bool]) -> StandingStep {
    let row = |entered: &bool| {
        let (account, segment, entered) = (account.number, segment(), *entered);
        TransitionRow { account, segment, uid, entered, at: now(), erased: false }
    };
    let (kept, told) = (due.map(|due| (vec![1, 2, 3], due)), entered.iter().map(row).collect());
    StandingStep { account: account.number, uid, seen, base: 3, kept, told }
}

async fn standings(store: &Opened, account: &AccountRow, uids: Vec<Uid>) -> Vec<StandingRow> {
    store.transitions.standings(account.number, uids).await.expect("an answer")
}

/// What followers are told in the end; others' transactions may hold it back for a while.
async fn told(store: &Opened, account: &AccountRow, name: &SegmentKey, count: usize) -> Vec<TransitionRead> {
    let read = || store.transitions.read(account.number, name.clone(), TransitionCursor::default(), 100);
    for _ in 0..400 {
        let rows = read().await.expect("an answer");
        if rows.len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    read().await.expect("an answer")
}

pub(crate) async fn are_kept_with_what_is_told_or_not_at_all(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let people = known(&store, &account, 3).await;
    let uids: Vec<Uid> = people.iter().map(|(_, uid)| *uid).collect();
    let take = async |steps: Vec<StandingStep>| store.transitions.step(steps).await.expect("an answer");
    let nothing: [(u32, Uid); 0] = [];

    let due = |uid: Uid, seen: Option<i64>, entered: &[bool]| step(&account, uid, seen, Some(EARLY), entered);
    assert_eq!(take(vec![due(uids[0], None, &[true]), due(uids[1], None, &[])]).await, nothing);
    let mut rows = standings(&store, &account, uids.clone()).await;
    let made = rows[0].made;
    assert!((now().0 - made.0).abs() < 60_000, "{made:?}");
    let row = |uid, version| {
        let (account, packed) = (account.number, vec![1, 2, 3]);
        StandingRow { account, uid, version, base: 3, packed, due: EARLY, made }
    };
    rows.sort_by_key(|row| uids.iter().position(|uid| *uid == row.uid));
    rows.iter_mut().for_each(|row| row.made = made);
    assert_eq!(rows, [row(uids[0], 1), row(uids[1], 1)]);
    let early = store.transitions.due(EARLY, 100).await.expect("an answer");
    assert_eq!(early.iter().filter(|row| row.account == account.number).count(), 2);
    let before = store.transitions.due(Millis(EARLY.0 - 1), 100).await.expect("an answer");
    assert!(before.iter().all(|row| row.account != account.number));

    // whoever nothing can be told of is left alone for a while
    store.transitions.postpone(vec![(account.number, uids[1])], Millis(EARLY.0 + 5)).await.expect("an answer");
    let early = store.transitions.due(EARLY, 100).await.expect("an answer");
    assert!(early.iter().any(|row| row.uid == uids[0]) && early.iter().all(|row| row.uid != uids[1]));

    // another replica was there first: nothing of this one is kept nor told
    let stale = take(vec![due(uids[0], None, &[true]), due(uids[1], Some(1), &[true]), due(uids[2], Some(4), &[true])]);
    let mut passed = vec![(account.number, uids[0]), (account.number, uids[2])];
    passed.sort_unstable();
    assert_eq!(stale.await, passed);
    assert_eq!(take(vec![step(&account, uids[0], Some(1), None, &[false])]).await, nothing);
    let mut rows = standings(&store, &account, uids.clone()).await;
    rows.iter_mut().for_each(|row| row.made = made);
    assert_eq!(rows, [row(uids[1], 2)]);
    let moves = told(&store, &account, &segment(), 3).await;
    let moves: Vec<_> = moves.iter().map(|one| (one.uid, one.entered)).collect();
    assert_eq!(moves, [(uids[0], true), (uids[1], true), (uids[0], false)]);

    // nothing is kept of the erased, whoever comes late
    store.users.erase(account.number, uids[1]).await.expect("erased");
    assert_eq!(take(vec![due(uids[1], None, &[])]).await, nothing);
    let (_, stranger) = somebody(&account);
    assert_eq!(take(vec![due(stranger, None, &[])]).await, nothing);
    assert_eq!(standings(&store, &account, [uids, vec![stranger]].concat()).await, []);
}

pub(crate) async fn steps_of_many_replicas_at_once_are_taken_once(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let people = known(&store, &account, 40).await;
    let tasks: Vec<_> = (0..4)
        .map(|replica| {
            let (store, account) = (place.open(), account.clone());
            let mut uids: Vec<Uid> = people.iter().map(|(_, uid)| *uid).collect();
            uids.rotate_left(replica * 10);
            tokio::spawn(async move {
                let mut taken = 0;
                for round in 0..5 {
                    let seen = (round > 0).then_some(round);
                    let steps = uids.iter().map(|uid| step(&account, *uid, seen, Some(Millis(EARLY.0 + 1)), &[true]));
                    let passed = store.transitions.step(steps.collect()).await.expect("an answer");
                    taken += uids.len() - passed.len();
                }
                taken
            })
        })
        .collect();
    let mut taken = 0;
    for task in tasks {
        taken += task.await.expect("no panic");
    }
    let rows = standings(&store, &account, people.iter().map(|(_, uid)| *uid).collect()).await;
    let steps: i64 = rows.iter().map(|row| row.version).sum();
    assert_eq!((rows.len(), steps), (40, taken as i64), "each version was made by one of them");
}

pub(crate) async fn who_leaves_a_list_when_their_time_is_over_is_told_once(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let other = place.open();
    let list: SegmentKey = "trial".parse().expect("a segment");
    let people: Vec<_> = (0..3).map(|_| somebody(&account)).collect();
    let over = Millis(now().0 + 5_000);
    store.transitions.expire(now(), 1_000).await.expect("an answer");
    let mut upload = store.crowds.upload(account.number, list.clone(), UploadMode::Add).await.expect("an upload");
    let until = [Some(over), None, Some(Millis(over.0 + 3_600_000))];
    let rows = people.iter().zip(until).map(|(one, until)| listed(one, until)).collect();
    upload.stage(rows).await.expect("staged");
    while upload.step().await.expect("a step").is_some() {}
    while now() <= over {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (one, two) = tokio::join!(store.transitions.expire(now(), 1_000), other.transitions.expire(now(), 1_000));
    one.and(two).expect("an answer");
    store.transitions.expire(now(), 1_000).await.expect("an answer");
    let moves = told(&store, &account, &list, 4).await;
    let left: Vec<_> = moves.iter().filter(|one| !one.entered).map(|one| (one.uid, one.at)).collect();
    assert_eq!((moves.len(), left), (4, vec![(people[0].1, over)]), "as of the instant it was over");
}

pub(crate) async fn a_wave_of_those_whose_time_is_over_is_told_page_by_page(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let list: SegmentKey = "wave".parse().expect("a segment");
    let mut people: Vec<_> = (0..7).map(|_| somebody(&account)).collect();
    people.sort_by_key(|(_, uid)| *uid);
    store.transitions.expire(now(), 1_000).await.expect("an answer");
    // all at one instant
    let over = Millis(now().0 + 5_000);
    let change = async |mode, rows| {
        let mut upload = store.crowds.upload(account.number, list.clone(), mode).await.expect("an upload");
        upload.stage(rows).await.expect("staged");
        while upload.step().await.expect("a step").is_some() {}
    };
    change(UploadMode::Add, people.iter().map(|one| listed(one, Some(over))).collect()).await;
    while now() <= over {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let page = async || store.transitions.expire(now(), 3).await.expect("an answer");
    assert_eq!(page().await, 3);
    // of two who are taken off by hand one was told of, the other leaves by it
    change(UploadMode::Remove, [0, 6].map(|n| listed(&people[n], None)).into()).await;
    assert_eq!((page().await, page().await, page().await), (3, 0, 0));
    let moves = told(&store, &account, &list, 14).await;
    let mut left: Vec<_> = moves.iter().filter(|one| !one.entered).map(|one| (one.uid, one.at == over)).collect();
    left.sort_unstable();
    let all: Vec<_> = people.iter().enumerate().map(|(n, (_, uid))| (*uid, n != 6)).collect();
    assert_eq!(left, all, "each once");
}
