//! What an activity is: a function of the set of events, whatever way they came.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::domain::{
    audience::{codec::CodecError, user::UserState},
    ids::EventName,
    values::Millis,
};

const DAY: i64 = 86_400_000;
const NOW: i64 = 1_790_000_000_000;

fn name(of: &str) -> EventName {
    of.parse().expect("a name")
}

fn event(of: &str, at: i64, properties: Value) -> Event {
    let properties = properties.as_object().cloned().unwrap_or_else(Map::new);
    Event { name: name(of), at: Millis(at), properties }
}

/// Plain, valued, keyed, and keyed and valued streams.
fn streams() -> Streams {
    let stream = |of: &str, key: Option<&str>, value: Option<&str>, keep| {
        Stream::new(name(of), Vec::new(), key.map(Box::from), value.map(Box::from), keep)
    };
    [
        stream("view", None, None, Keep::Few),
        stream("view", None, None, Keep::Some),
        stream("view", Some("item"), None, Keep::Few),
        stream("buy", None, Some("amount"), Keep::Few),
        stream("buy", Some("item"), Some("amount"), Keep::Few),
    ]
    .into_iter()
    .collect()
}

fn absorbed<'e>(events: impl IntoIterator<Item = &'e Event>) -> Activity {
    let (mut activity, streams) = (Activity::default(), streams());
    events.into_iter().for_each(|event| activity.absorb(&streams, event));
    activity
}

fn any_event() -> impl Strategy<Value = Event> {
    let at = prop_oneof![0..DAY, 0..20 * DAY, 0..900 * DAY, Just(0), Just(DAY)].prop_map(|ago| NOW - ago);
    let amount = prop_oneof![
        (0..100_000_i64).prop_map(|cents| json!(cents as f64 / 100.0)),
        (-5..5_i64).prop_map(Value::from),
        Just(json!(9_999_999_999.5)),
        Just(json!("much")),
    ];
    (prop_oneof![Just("view"), Just("buy"), Just("other")], at, 0..16_u8, amount)
        .prop_map(|(of, at, item, amount)| event(of, at, json!({"item": item, "amount": amount})))
}

fn bodies(activity: &Activity) -> Vec<(StreamId, Vec<u8>)> {
    activity.view().bodies().map(|(id, body)| (id, body.to_vec())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_gives_the_same_bytes_which_round_trip(
        events in prop::collection::vec(any_event(), 0..200), order in any::<u64>()
    ) {
        let activity = absorbed(&events);
        let mut shuffled: Vec<_> = events.iter().enumerate().collect();
        shuffled.sort_by_key(|(at, _)| (*at as u64 ^ order).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
        prop_assert_eq!(&absorbed(shuffled.into_iter().map(|(_, event)| event)), &activity);
        prop_assert_eq!(Activity::decode(activity.as_bytes()), Ok(activity));
    }

    #[test]
    fn merging_is_the_union_and_again_a_no_op(
        one in prop::collection::vec(any_event(), 0..100), other in prop::collection::vec(any_event(), 0..100)
    ) {
        let (mut merged, known) = (absorbed(&one), absorbed(&other));
        merged.merge(&known, Uid(2));
        prop_assert_eq!(bodies(&merged), bodies(&absorbed(one.iter().chain(&other))));
        prop_assert_eq!(Activity::decode(merged.as_bytes()), Ok(merged.clone()));
        let mut again = merged.clone();
        again.merge(&known, Uid(2));
        prop_assert_eq!(&again, &merged);
        // Whoever takes over a merged person takes over what was merged into them.
        let mut third = absorbed(&[]);
        third.merge(&merged, Uid(1));
        let once = third.clone();
        third.merge(&known, Uid(2));
        prop_assert_eq!(&third, &once);
        // Two who did the same at the same time are two.
        let mut twice = absorbed(&[]);
        (3..5).for_each(|uid| twice.merge(&known, Uid(uid)));
        prop_assert_eq!(bodies(&twice), bodies(&absorbed(other.iter().chain(&other))));
    }

    #[test]
    fn other_bytes_never_panic_and_have_one_form(
        events in prop::collection::vec(any_event(), 1..120), cut in any::<prop::sample::Index>(), byte in any::<u8>(),
        noise in prop::collection::vec(any::<u8>(), 0..64)
    ) {
        let mut bytes = absorbed(&events).as_bytes().to_vec();
        if !bytes.is_empty() {
            let at = cut.index(bytes.len());
            bytes[at] = byte;
            read_all(&bytes, &events[0]);
            read_all(&bytes[..at], &events[0]);
        }
        read_all(&noise, &events[0]);
    }
}

/// Reads and changes whatever `bytes` are.
fn read_all(bytes: &[u8], event: &Event) {
    let Ok(mut activity) = Activity::decode(bytes) else { return };
    for (_, body) in activity.view().bodies() {
        assert_eq!(Kept::decode(body).encode(), body);
    }
    let copy = activity.clone();
    activity.merge(&copy, Uid(1));
    activity.absorb(&streams(), event);
    Activity::decode(activity.as_bytes()).expect("own bytes");
}

#[test]
fn malformed_bytes_are_refused() {
    assert_eq!(Activity::decode(&[]), Ok(Activity::default()));
    assert_eq!(Activity::decode(&[9, 0, 1, 0]), Err(CodecError::Version(9)));
    assert_eq!(Activity::decode(&[1, 0, 1]), Err(CodecError::Truncated));
    assert!(matches!(Activity::decode(&[1, 0, 0, 0]), Err(CodecError::Malformed(_))));
}

#[test]
fn keys_beyond_the_limit_are_forgotten_and_stay_so() {
    let item = |item: i64, at: i64| event("view", at, json!({"item": item}));
    let mut activity = absorbed(&(0..17).map(|n| item(n, NOW + n)).collect::<Vec<_>>());
    let keyed = streams().of_event(&name("view")).iter().find(|stream| stream.key().is_some()).expect("a stream").id();
    let keys = |activity: &Activity| activity.view().stream(keyed).expect("events").tracks().len();
    assert_eq!(keys(&activity), Stream::KEYS);
    // An event of the forgotten time cannot bring its key back; a newer one can.
    let before = bodies(&activity);
    activity.absorb(&streams().only(&[keyed]), &item(0, NOW));
    assert_eq!(bodies(&activity), before);
    activity.absorb(&streams().only(&[keyed]), &item(0, NOW + 100));
    assert_ne!(bodies(&activity), before);
    assert_eq!(keys(&activity), Stream::KEYS);
}

#[test]
fn only_chosen_streams_are_filled() {
    let (all, event) = (streams(), event("view", NOW, json!({"item": 1})));
    let (first, rest) = all.of_event(&event.name).split_at(1);
    let ids = |streams: &[Stream]| streams.iter().map(Stream::id).collect::<Vec<_>>();
    let mut person = UserState::default();
    person.absorb(&all.only(&ids(rest)), &event);
    assert_eq!(person.activity.streams().collect::<Vec<_>>(), ids(rest));
    person.absorb(&all.only(&ids(first)), &event);
    assert_eq!(person.activity, absorbed([&event]));
    assert_eq!(person.activity.among(|id| ids(first).contains(&id)).streams().collect::<Vec<_>>(), ids(first));
}

#[test]
fn what_is_kept_can_be_told() {
    let events: Vec<_> = (0..40)
        .map(|at| event("buy", NOW - at * DAY, json!({"item": format!("i{}", at % 3), "amount": 1.25})))
        .chain([event("view", NOW, json!({}))])
        .collect();
    let told = absorbed(&events).told(&streams());
    let kinds: Vec<_> =
        told.iter().map(|told| (told.event.as_str(), told.key.is_some(), told.value.is_some())).collect();
    let views = kinds.iter().filter(|kind| **kind == ("view", false, false)).count();
    assert_eq!((told.len(), views), (4, 2), "a view without an item is in no keyed stream");
    for buys in told.iter().filter(|told| told.event.as_str() == "buy") {
        assert_eq!((buys.count, buys.last), (40, Millis(NOW)), "{buys:?}");
        assert_eq!(buys.value.as_ref().map(|total| total.sum), Some(50.0));
        assert_eq!(buys.key.as_ref().map(|keys| keys.kept), buys.key.as_ref().map(|_| 3));
        assert!((Millis(NOW - 40 * DAY)..=Millis(NOW - 39 * DAY)).contains(&buys.first));
    }
}
