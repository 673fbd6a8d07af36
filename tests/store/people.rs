//! People: profiles, lists and erasure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use sqlx::{Connection as _, PgConnection, query, query_scalar};
use tessera::{
    domain::{
        audience::user::Listed,
        catalog::key::Kind,
        ids::{NameHash, SegmentKey, Uid, UserKey},
        values::Millis,
    },
    ports::{
        AccountRow, Change, FoundProfile, FoundRecord, KeptAnswer, MemberChange, Membership, Moved, ProfileRow,
        ProfileWrite, ProfileWritten, Repeat, StoreError, TransitionCursor, UploadMode, UploadRow, UploadStep, UserRow,
    },
    store::Opened,
};

use crate::{
    catalog::commit,
    outcomes::{impression, record},
    suite::{Place, delete, now, position, recovered, somebody, told, write},
};

/// A write of somebody's traits.
pub(crate) fn traits(key: &UserKey, uid: Uid, based_on: i64, age: i64) -> ProfileWrite {
    let traits = json!({"age": {"value": age, "set_at": "2026-11-22T08:30:00.000Z"}});
    ProfileWrite { uid, key: key.clone(), based_on, packed: age.to_le_bytes().to_vec(), traits }
}

/// One person as the store keeps them for decisions.
pub(crate) async fn load(store: &Opened, account: &AccountRow, uid: Uid) -> Option<UserRow> {
    let mut found = recovered(|| store.users.load(vec![(account.number, uid)])).await;
    assert!(found.len() < 2);
    found.pop().map(|((number, of), row)| {
        assert_eq!((number, of), (account.number, uid));
        row
    })
}

/// A person as people read them, if they are one.
pub(crate) async fn profile(store: &Opened, account: &AccountRow, uid: Uid) -> Option<ProfileRow> {
    match store.users.profile(account.number, uid).await.expect("an answer") {
        FoundProfile::Known(row) => Some(*row),
        _ => None,
    }
}

async fn write_one(store: &Opened, account: &AccountRow, write: ProfileWrite) -> ProfileWritten {
    store.users.write_profiles(account.number, vec![write]).await.expect("an answer")[0]
}

fn list(name: &str) -> SegmentKey {
    name.parse().expect("a segment")
}

fn entering(key: &UserKey, uid: Uid, expires_at: Option<Millis>) -> MemberChange {
    MemberChange { uid, key: key.clone(), change: Membership::In { expires_at } }
}

pub(crate) async fn are_loaded_many_at_a_time_and_by_key(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (_, other) = place.account().await;
    let people: Vec<_> = (0..300).map(|_| somebody(&account)).collect();
    let writes = people.iter().zip(0..).map(|((key, uid), age)| traits(key, *uid, 0, age)).collect();
    let written = store.users.write_profiles(account.number, writes).await.expect("an answer");
    assert!(written.iter().all(|written| *written == ProfileWritten::Done { version: 1 }));

    let mut asked: Vec<_> = people.iter().map(|(_, uid)| (account.number, *uid)).collect();
    asked.extend(people.iter().map(|(_, uid)| (other.number, *uid)));
    asked.push((account.number, Uid(1)));
    let found: BTreeMap<_, _> = recovered(|| store.users.load(asked.clone())).await.into_iter().collect();
    assert_eq!(found.len(), 300);
    for ((_, uid), age) in people.iter().zip(0_i64..) {
        let row =
            UserRow { version: 1, packed: age.to_le_bytes().into(), caps: vec![], lists: vec![], merged_into: None };
        assert_eq!(found[&(account.number, *uid)], row);
    }
    assert_eq!(recovered(|| store.users.load(vec![])).await, []);

    // The statistics of other connections arrive late.
    let mut connection = place.connect().await;
    let scans = "select (sum(seq_scan)::bigint, sum(idx_scan)::bigint) from pg_stat_user_tables where relname like 'profile\\_%'";
    let _: (i64, i64) = query_scalar(scans).fetch_one(&mut connection).await.expect("the statistics");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (sequential, _): (i64, i64) = query_scalar(scans).fetch_one(&mut connection).await.expect("the statistics");
    for _ in 0..20 {
        recovered(|| store.users.load(asked.clone())).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (later, by_key): (i64, i64) = query_scalar(scans).fetch_one(&mut connection).await.expect("the statistics");
    assert_eq!(sequential, later, "people are never searched for");
    assert!(by_key > 0);
}

pub(crate) async fn are_written_by_whoever_knows_their_newest_version(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (key, uid) = somebody(&account);
    assert_eq!(store.users.profile(account.number, uid).await.expect("an answer"), FoundProfile::Nobody);
    assert_eq!(write_one(&store, &account, traits(&key, uid, 3, 1)).await, ProfileWritten::Moved);
    assert_eq!(load(&store, &account, uid).await, None);
    assert_eq!(write_one(&store, &account, traits(&key, uid, 0, 1)).await, ProfileWritten::Done { version: 1 });
    assert_eq!(write_one(&store, &account, traits(&key, uid, 0, 2)).await, ProfileWritten::Moved);

    let other = place.open();
    for version in 1..20 {
        let (a, b) = tokio::join!(
            store.users.write_profiles(account.number, vec![traits(&key, uid, version, 100)]),
            other.users.write_profiles(account.number, vec![traits(&key, uid, version, 200)]),
        );
        let answers = [a.expect("an answer")[0], b.expect("an answer")[0]];
        assert!(answers.contains(&ProfileWritten::Done { version: version + 1 }), "{answers:?}");
        assert!(answers.contains(&ProfileWritten::Moved), "{answers:?}");
    }
    let (second, second_uid) = somebody(&account);
    let batch = vec![
        traits(&second, second_uid, 0, 1),
        traits(&key, uid, 20, 5),
        traits(&second, second_uid, 0, 2),
        traits(&key, uid, 3, 6),
    ];
    let cursor = &mut position(&store).await;
    let done = |version| ProfileWritten::Done { version };
    let written = store.users.write_profiles(account.number, batch).await.expect("an answer");
    assert_eq!(written, [done(1), done(21), ProfileWritten::Moved, ProfileWritten::Moved]);
    let changed = |uid, version| Change::Person { account: account.number, uid, version };
    let expected = [changed(uid, 21), changed(second_uid, 1)];
    told(&store, cursor, |all| expected.iter().all(|change| all.contains(change))).await;
    let profile = profile(&store, &account, uid).await.expect("a profile");
    assert_eq!((profile.key, profile.version), (Some(key.clone()), 21));
    assert_eq!(profile.traits, traits(&key, uid, 0, 5).traits);
    assert!(profile.created_at <= profile.updated_at);
}

pub(crate) async fn are_moved_in_and_out_of_lists(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (key, uid) = somebody(&account);
    let (gold, expiry) = (list("crm-gold"), Some(Millis(1_900_000_000_000)));
    let change = |change: MemberChange| store.users.change_members(account.number, gold.clone(), vec![change]);
    let cursor = &mut position(&store).await;
    assert_eq!(change(entering(&key, uid, None)).await.expect("an answer").changed, 1);
    assert_eq!(change(entering(&key, uid, None)).await.expect("an answer").changed, 0);
    let row = load(&store, &account, uid).await.expect("somebody without traits");
    let listed = |until, since| Listed { since, ..(NameHash::of("crm-gold"), until).into() };
    let since = row.lists[0].since;
    assert!(since.is_some_and(|since| (now().0 - since.0).abs() < 60_000), "{since:?}");
    assert_eq!(
        row,
        UserRow { version: 1, packed: vec![], caps: vec![], lists: vec![listed(None, since)], merged_into: None }
    );
    assert_eq!(change(entering(&key, uid, expiry)).await.expect("an answer").changed, 1);
    let row = load(&store, &account, uid).await.expect("a member");
    assert_eq!((row.version, row.lists), (2, vec![listed(expiry, since)]), "of the same since then");
    let told_of = Change::Person { account: account.number, uid, version: 2 };
    told(&store, cursor, |all| all.contains(&told_of)).await;
    let profile = profile(&store, &account, uid).await.expect("a profile");
    assert_eq!((profile.traits, profile.lists), (json!({}), BTreeMap::from([(gold.clone(), expiry)])));
    assert_eq!(write_one(&store, &account, traits(&key, uid, 2, 7)).await, ProfileWritten::Done { version: 3 });
    let leaving = MemberChange { uid, key: key.clone(), change: Membership::Out };
    assert_eq!(change(leaving.clone()).await.expect("an answer").changed, 1);
    assert_eq!(change(leaving).await.expect("an answer").changed, 0);
    let row = load(&store, &account, uid).await.expect("somebody with traits");
    assert_eq!((row.version, row.lists), (4, vec![]));

    // A thousand at once, by two replicas at the same time, and read page by page.
    let mut people: Vec<_> = (0..1_000).map(|_| somebody(&account)).collect();
    let forth: Vec<_> = people.iter().map(|(key, uid)| entering(key, *uid, expiry)).collect();
    let back: Vec<_> = forth.iter().rev().cloned().collect();
    let other = place.open();
    let (a, b) = tokio::join!(
        store.users.change_members(account.number, gold.clone(), forth),
        other.users.change_members(account.number, gold.clone(), back),
    );
    assert_eq!(a.expect("an answer").changed + b.expect("an answer").changed, 1_000);
    people.sort_by_key(|(_, uid)| *uid);
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = store.users.members(account.number, gold.clone(), after, 300).await.expect("an answer");
        let Some((last, _, _)) = page.last() else { break };
        after = Some(*last);
        read.extend(page);
    }
    assert_eq!(read, people.into_iter().map(|(key, uid)| (uid, key, expiry)).collect::<Vec<_>>());
}

/// Takes an upload to its end; the steps that changed something.
pub(crate) async fn upload(
    store: &Opened,
    account: &AccountRow,
    name: &str,
    mode: UploadMode,
    rows: Vec<UploadRow>,
) -> Vec<UploadStep> {
    let mut upload = store.crowds.upload(account.number, list(name), mode).await.expect("an upload");
    for rows in rows.chunks(700) {
        upload.stage(rows.to_vec()).await.expect("staged");
    }
    let foreseen = upload.survey().await.expect("a survey");
    let (mut steps, mut next) = (Vec::new(), 0);
    while let Some(step) = upload.step().await.expect("a step") {
        assert_eq!(step.from.0, next, "steps leave nobody out");
        next = step.upto.0.wrapping_add(1);
        steps.push(step);
    }
    assert_eq!(next, 0, "and reach the last");
    steps.retain(|step| step.moved.changed > 0);
    assert_eq!(steps.iter().map(|step| step.moved.changed).sum::<u64>(), foreseen, "as the survey foresaw");
    steps
}

pub(crate) fn row((key, uid): &(UserKey, Uid), expires_at: Option<Millis>) -> UploadRow {
    UploadRow { uid: *uid, key: key.clone(), expires_at }
}

fn changed(steps: &[UploadStep]) -> u64 {
    steps.iter().map(|step| step.moved.changed).sum()
}

/// How many entered and left a list as far as followers are told.
async fn recorded(store: &Opened, account: &AccountRow, name: &str) -> BTreeMap<bool, usize> {
    let (mut counts, mut after) = (BTreeMap::new(), TransitionCursor::default());
    let began = std::time::Instant::now();
    loop {
        let rows = store.transitions.read(account.number, list(name), after, 5_000).await.expect("an answer");
        rows.iter().for_each(|row| *counts.entry(row.entered).or_default() += 1);
        match rows.last() {
            Some(last) => after = last.cursor,
            // transactions of others may hold back what is told
            None if !counts.is_empty() || began.elapsed() > Duration::from_secs(20) => return counts,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) async fn are_uploaded_to_lists_in_bulk(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let people: Vec<_> = (0..2_500).map(|_| somebody(&account)).collect();
    let (known, erased) = (&people[0], &people[1]);
    write_one(&store, &account, traits(&known.0, known.1, 0, 1)).await;
    store.users.erase(account.number, erased.1).await.expect("an answer");
    // known from an impression alone: the upload tells their name, without which no list shows them
    store.outcomes.record(vec![impression(&account, Some(people[4].1))]).await.expect("an answer");
    let cursor = &mut position(&store).await;

    // Somebody twice: the last row counts.
    let mut rows: Vec<_> = people.iter().map(|who| row(who, Some(Millis(1)))).collect();
    rows.extend(people.iter().take(2_000).map(|who| row(who, None)));
    let steps = upload(&store, &account, "crm", UploadMode::Add, rows.clone()).await;
    assert_eq!((changed(&steps), steps.len()), (2_499, 5), "4,500 rows in steps of 1,000");
    let crossed: Vec<_> = steps.iter().flat_map(|step| &step.moved.crossed).collect();
    assert_eq!(crossed.len(), 1_999, "who is on it until a time that is past has not entered");
    assert!(crossed.iter().all(|one| one.was.is_none()));
    assert_eq!(recorded(&store, &account, "crm").await, [(true, 1_999)].into());
    let covers = |uid: Uid| move |change: &Change| matches!(change, Change::Lists { from, upto, .. } if *from <= uid && uid <= *upto);
    let all = told(&store, cursor, |all| people.iter().all(|(_, uid)| all.iter().any(covers(*uid)))).await;
    let mut changes: Vec<_> = all
        .iter()
        .filter_map(|one| if let Change::Lists { change, .. } = one { Some(*change) } else { None })
        .collect();
    changes.sort_unstable();
    changes.dedup();
    assert_eq!(changes.len(), steps.len(), "a change for each step, not for each person: {all:?}");
    assert!(!all.iter().any(|change| matches!(change, Change::Person { .. })));

    assert_eq!(load(&store, &account, known.1).await.expect("known").version, 1, "no version moves");
    let ends = async |uid| {
        let lists = load(&store, &account, uid).await.expect("known").lists;
        lists.iter().map(|listed| (listed.list, listed.until)).collect::<Vec<_>>()
    };
    assert_eq!(ends(known.1).await, [(NameHash::of("crm"), Millis::NEVER)]);
    assert_eq!(ends(people[2_400].1).await, [(NameHash::of("crm"), Millis(1))]);
    assert_eq!(load(&store, &account, erased.1).await, None);
    assert_eq!(upload(&store, &account, "crm", UploadMode::Add, rows).await, [], "repeating changes nothing");

    // Half of them and somebody new are the list from now on.
    let new = somebody(&account);
    let mut half: Vec<_> = people.iter().skip(2).step_by(2).map(|who| row(who, None)).collect();
    half.push(row(&new, None));
    let expected: std::collections::BTreeSet<_> = half.iter().map(|row| row.uid).collect();
    upload(&store, &account, "crm", UploadMode::Replace, half.clone()).await;
    let members = store.users.members(account.number, list("crm"), None, 5_000).await.expect("an answer");
    assert_eq!(members.iter().map(|(uid, ..)| *uid).collect::<std::collections::BTreeSet<_>>(), expected);
    assert!(members.iter().all(|(_, _, expires_at)| expires_at.is_none()));
    // of 1,249 who stay 250 had been on it until a time that is past; 1,000 of those who go had not
    assert_eq!(recorded(&store, &account, "crm").await, [(true, 1_999 + 250 + 1), (false, 1_000)].into());

    assert_eq!(changed(&upload(&store, &account, "crm", UploadMode::Remove, half).await), expected.len() as u64);
    upload(&store, &account, "crm", UploadMode::Add, vec![row(&new, None)]).await;
    assert_eq!(changed(&upload(&store, &account, "crm", UploadMode::Replace, vec![]).await), 1, "nobody is left");
    assert_eq!(store.users.members(account.number, list("crm"), None, 10).await.expect("an answer"), []);
    let odd: UserKey = "back\\slash \\N".parse().expect("a key");
    let uid = Uid::of(&account.secret, &odd);
    upload(&store, &account, "crm", UploadMode::Add, vec![row(&(odd.clone(), uid), None)]).await;
    assert_eq!(
        store.users.members(account.number, list("crm"), None, 10).await.expect("an answer"),
        [(uid, odd, None)]
    );

    // Everyone in turn.
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = store.crowds.scan(account.number, after, 999).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(last.uid);
        read.extend(page);
    }
    assert_eq!(read.len(), 2_501);
    assert!(read.is_sorted_by(|a, b| a.uid < b.uid) && read.iter().all(|who| who.uid != erased.1));
    let names = store.crowds.trait_names(account.number, Uid(u128::MAX)).await.expect("names");
    assert_eq!(names, ["age"]);
}

pub(crate) async fn move_once_whoever_else_moves_them(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (number, other) = (account.number.cast_signed(), place.open());
    let carry = async |store: &Opened, account: &AccountRow, name: &str, mode, rows: Vec<UploadRow>| {
        let mut upload = store.crowds.upload(account.number, list(name), mode).await.expect("an upload");
        upload.stage(rows).await.expect("staged");
        while upload.step().await.expect("a step").is_some() {}
    };
    let people: Vec<_> = (0..1_000).map(|_| somebody(&account)).collect();
    for round in 0..4 {
        let name = format!("both-{round}");
        let one_by_one = people.iter().rev().map(|(key, uid)| entering(key, *uid, None)).collect();
        let rows = people.iter().map(|who| row(who, None)).collect();
        let (singly, _) = tokio::join!(
            other.users.change_members(account.number, list(&name), one_by_one),
            carry(&store, &account, &name, UploadMode::Add, rows),
        );
        singly.expect("an answer");
        assert_eq!(recorded(&store, &account, &name).await, BTreeMap::from([(true, 1_000)]));
    }

    let listed = async |name: &str| {
        let page = store.users.members(account.number, list(name), None, 10).await.expect("an answer");
        page.into_iter().map(|(uid, ..)| uid).collect::<Vec<_>>()
    };
    let held = async |connection: &mut PgConnection, by: &str| {
        for _ in 0..500 {
            let waits = "select count(*) from pg_locks l join pg_stat_activity a using (pid)
                         where not l.granted and a.datname = current_database() and (l.locktype = 'advisory') = ($1 = 'advisory')";
            if query_scalar::<_, i64>(waits).bind(by).fetch_one(&mut *connection).await.expect("a count") > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (mut writer, mut looker) = (place.connect().await, place.connect().await);
    // who is given another end while an upload takes them off
    let who = &people[0];
    carry(&store, &account, "ends", UploadMode::Add, vec![row(who, None)]).await;
    let mut tx = writer.begin().await.expect("a transaction");
    let change = "update list_member set expires_at = 1900000000000 where account = $1 and uid = $2 and list = $3";
    let of = NameHash::of("ends").0.cast_signed();
    query(change).bind(number).bind(who.1.as_uuid()).bind(of).execute(&mut *tx).await.expect("a change");
    let (_, ()) = tokio::join!(carry(&store, &account, "ends", UploadMode::Remove, vec![row(who, None)]), async {
        held(&mut looker, "row").await;
        tx.commit().await.expect("an end");
    });
    assert_eq!(listed("ends").await, []);

    // who is merged while an upload puts them on
    let (from, into) = (&people[1], &people[2]);
    let mut tx = writer.begin().await.expect("a transaction");
    // as those who merge do first
    let merging = query("select pg_advisory_xact_lock_shared(7358808, $1)").bind(number);
    merging.execute(&mut *tx).await.expect("a lock");
    for statement in [
        "select from profile where account = $1 and uid = any(array[$2, $3]) for update",
        "update profile set merged_into = $3, version = version + 1 where account = $1 and uid = $2",
    ] {
        let statement = query(statement).bind(number).bind(from.1.as_uuid()).bind(into.1.as_uuid());
        statement.execute(&mut *tx).await.expect("a step");
    }
    let (_, ()) = tokio::join!(carry(&store, &account, "merged", UploadMode::Add, vec![row(from, None)]), async {
        held(&mut looker, "advisory").await;
        tx.commit().await.expect("an end");
    });
    assert_eq!(listed("merged").await, [into.1], "nobody is on it under a key that leads elsewhere");
}

pub(crate) async fn leave_a_list_that_is_deleted(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (key, uid) = somebody(&account);
    commit(&store, account.number, 0, vec![write(Kind::Segment, "gone", json!({}), &[])]).await;
    for name in ["gone", "stays"] {
        let change = vec![entering(&key, uid, None)];
        store.users.change_members(account.number, list(name), change).await.expect("an answer");
    }
    let cursor = &mut position(&store).await;
    commit(&store, account.number, 1, vec![delete(Kind::Segment, "gone")]).await;
    let everybody = |change: &Change| matches!(change, Change::Lists { account: of, from, upto, .. } if (*of, *from, *upto) == (account.number, uid, uid));
    let moved = Change::Catalog { account: account.number, version: 2 };
    told(&store, cursor, |all| all.iter().any(everybody) && all.contains(&moved)).await;
    let row = load(&store, &account, uid).await.expect("a member");
    assert_eq!(row.lists.iter().map(|listed| listed.list).collect::<Vec<_>>(), [NameHash::of("stays")]);
    assert_eq!(store.users.members(account.number, list("gone"), None, 10).await.expect("an answer"), []);
}

pub(crate) async fn leave_a_large_list_after_it_is_deleted(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let number = account.number.cast_signed();
    let mut connection = place.connect().await;
    let segment = || vec![write(Kind::Segment, "large", json!({}), &[])];
    assert_eq!(commit(&store, account.number, 0, segment()).await, 1);
    let list = NameHash::of("large").0.cast_signed();
    let fill =
        "insert into list_member (account, uid, list) select $1, gen_random_uuid(), $2 from generate_series(1, 25000)";
    query(fill).bind(number).bind(list).execute(&mut connection).await.expect("members");
    let left = async |connection: &mut PgConnection| {
        let left = query_scalar::<_, i64>("select count(*) from list_member where account = $1 and list = $2");
        left.bind(number).bind(list).fetch_one(connection).await.expect("a count")
    };
    // the commit takes some, the rest goes when nobody waits
    assert_eq!(commit(&store, account.number, 1, vec![delete(Kind::Segment, "large")]).await, 2);
    for _ in 0..1_000 {
        if left(&mut connection).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(left(&mut connection).await, 0);
    store.users.clear_leftovers().await.expect("an answer");

    // while some are on it, it does not come back
    let due = "insert into list_leaving (account, list) values ($1, $2)";
    query(due).bind(number).bind(list).execute(&mut connection).await.expect("a row");
    query(fill).bind(number).bind(list).execute(&mut connection).await.expect("members");
    let by = || "test".to_owned();
    let refused = store.catalog.commit(account.number, 2, by(), segment(), false).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    store.users.clear_leftovers().await.expect("an answer");
    assert_eq!(commit(&store, account.number, 2, segment()).await, 3);
    assert_eq!(left(&mut connection).await, 0);
}

pub(crate) async fn are_named_in_no_answer_once_erased(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (key, uid) = somebody(&account);
    store.users.write_profiles(account.number, vec![traits(&key, uid, 0, 30)]).await.expect("an answer");
    let mut connection = place.connect().await;
    let kept = async |connection: &mut PgConnection| {
        let kept = query_scalar::<_, i64>("select count(*) from repeat_answer where account = $1");
        kept.bind(account.number.cast_signed()).fetch_one(connection).await.expect("a count")
    };
    // every hundredth names them
    let fill = query(
        "insert into repeat_answer (account, key, request, status, body)
         select $1, n, sha256(''), 200, convert_to('{\"user\": \"' || case n % 100 when 0 then $2 else 'nobody' end || '\"}', 'UTF8')
         from generate_series(1, 1200) n",
    );
    fill.bind(account.number.cast_signed()).bind(key.as_str()).execute(&mut connection).await.expect("answers");
    store.users.erase(account.number, uid).await.expect("an answer");
    assert_eq!(kept(&mut connection).await, 1_188);
    // what a crash left is made up for
    let due = query("insert into answer_erasure (account, key) values ($1, 'nobody')");
    due.bind(account.number.cast_signed()).execute(&mut connection).await.expect("a row");
    store.users.clear_leftovers().await.expect("an answer");
    assert_eq!(kept(&mut connection).await, 0);
}

pub(crate) async fn once_erased_stay_away(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (key, uid) = somebody(&account);
    write_one(&store, &account, traits(&key, uid, 0, 1)).await;
    let enter = || store.users.change_members(account.number, list("crm-gold"), vec![entering(&key, uid, None)]);
    enter().await.expect("an answer");
    let shown = impression(&account, Some(uid));
    let kept = record(&account, Some(uid));
    store.outcomes.record(vec![shown.clone()]).await.expect("an answer");
    store.outcomes.keep(vec![kept.clone()]).await.expect("an answer");
    let answer = |body: String| KeptAnswer { status: 200, headers: vec![], body: body.into_bytes() };
    for (name, body) in [("about", format!("{{\"user\":\"{key}\"}}")), ("else", "{}".to_owned())] {
        let begun = store.catalog.begin_once(account.number, name.into(), [1; 32]).await.expect("an answer");
        assert_eq!(begun, Repeat::First);
        store.catalog.end_once(account.number, name.into(), Some(answer(body))).await.expect("kept");
    }
    let cursor = &mut position(&store).await;

    assert!(store.users.erase(account.number, uid).await.expect("an answer").known);
    let told_of = Change::Erased { account: account.number, uid };
    told(&store, cursor, |all| all.contains(&told_of)).await;
    let gone = async || {
        assert_eq!(load(&store, &account, uid).await, None);
        assert_eq!(store.users.profile(account.number, uid).await.expect("an answer"), FoundProfile::Erased);
        assert_eq!(store.users.members(account.number, list("crm-gold"), None, 10).await.expect("an answer"), []);
    };
    gone().await;
    let again = async |name: &str| store.catalog.begin_once(account.number, name.into(), [1; 32]).await;
    assert_eq!(again("about").await.expect("an answer"), Repeat::First, "what named them is gone");
    assert_eq!(again("else").await.expect("an answer"), Repeat::Answered(answer("{}".to_owned())));
    assert_eq!(store.outcomes.find(account.number, kept.decision).await.expect("an answer"), FoundRecord::Erased);
    let outcomes = store.outcomes.outcomes_of(account.number, shown.decision).await.expect("an answer");
    assert_eq!(outcomes.iter().map(|outcome| outcome.person).collect::<Vec<_>>(), [None]);

    // Whoever writes late does not bring them back.
    for based_on in [0, 2, 3, 4] {
        assert_eq!(write_one(&store, &account, traits(&key, uid, based_on, 9)).await, ProfileWritten::Erased);
    }
    assert_eq!(enter().await.expect("an answer"), Moved::default());
    let (late, later) = (impression(&account, Some(uid)), record(&account, Some(uid)));
    store.outcomes.record(vec![late.clone()]).await.expect("an answer");
    store.outcomes.keep(vec![later.clone(), kept]).await.expect("an answer");
    gone().await;
    let outcomes = store.outcomes.outcomes_of(account.number, late.decision).await.expect("an answer");
    assert_eq!(outcomes.iter().map(|outcome| outcome.person).collect::<Vec<_>>(), [None]);
    assert_eq!(store.outcomes.find(account.number, later.decision).await.expect("an answer"), FoundRecord::Erased);
    assert!(!store.users.erase(account.number, uid).await.expect("an answer").known);

    // Somebody the store never knew stays away as well, in this account only.
    let (stranger, stranger_uid) = somebody(&account);
    assert!(!store.users.erase(account.number, stranger_uid).await.expect("an answer").known);
    assert_eq!(write_one(&store, &account, traits(&stranger, stranger_uid, 0, 9)).await, ProfileWritten::Erased);
    let (_, other) = place.account().await;
    let elsewhere = write_one(&store, &other, traits(&stranger, stranger_uid, 0, 9)).await;
    assert_eq!(elsewhere, ProfileWritten::Done { version: 1 });
    let mut connection = place.connect().await;
    let left: i64 = query_scalar(
        "select (select count(*) from outcome where person = any($1)) + (select count(*) from list_member where uid = any($1))
              + (select count(*) from decision_record where person = any($1))
              + (select count(*) from profile where uid = $2 and (key is not null or length(packed || caps) > 0))",
    )
    .bind([uid.as_uuid()])
    .bind(uid.as_uuid())
    .fetch_one(&mut connection)
    .await
    .expect("a count");
    assert_eq!(left, 0);
}

pub(crate) async fn are_erased_for_good_while_others_write(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let writer = |person: usize| {
        let (store, account) = (store.clone(), account.clone());
        let (key, uid) = somebody(&account);
        async move {
            let erase = async {
                tokio::time::sleep(Duration::from_millis(person as u64 % 7)).await;
                store.users.erase(account.number, uid).await.expect("an answer");
            };
            let shown = impression(&account, Some(uid));
            let kept = record(&account, Some(uid));
            let (_, written, changed, recorded, keeping) = tokio::join!(
                erase,
                store.users.write_profiles(account.number, vec![traits(&key, uid, 0, 1)]),
                store.users.change_members(account.number, list("crm"), vec![entering(&key, uid, None)]),
                store.outcomes.record(vec![shown]),
                store.outcomes.keep(vec![kept]),
            );
            written.and(changed.map(drop)).and(recorded.map(drop)).and(keeping).expect("answers");
            uid.as_uuid()
        }
    };
    let mut uids = Vec::new();
    for wave in 0..10 {
        let mut tasks = tokio::task::JoinSet::new();
        (0..4).for_each(|person| drop(tasks.spawn(writer(wave * 4 + person))));
        uids.extend(tasks.join_all().await);
    }
    let mut connection = place.connect().await;
    let left: i64 = query_scalar(
        "select (select count(*) from outcome where person = any($1)) + (select count(*) from list_member where uid = any($1))
              + (select count(*) from decision_record where person = any($1))
              + (select count(*) from profile where uid = any($1) and (erased_at is null or key is not null))",
    )
    .bind(uids)
    .fetch_one(&mut connection)
    .await
    .expect("a count");
    assert_eq!(left, 0);
}
