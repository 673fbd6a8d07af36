//! What it costs to know a person's segments and to add to what is known of them, beside the goals:
//! for the typical person (126 events, 31 tracks) 20 segments in play in at most 2 us, 1,000 in at
//! most 60 us, 10,000 in at most 0.7 ms; an event is added in at most 5 us; the person is packed
//! into at most 2.1 KB.
//!
//! `cargo bench --bench audience`

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tessera::domain::{
    audience::{
        activity::{Activity, Event, Streams},
        caps::CapRing,
        compile::{RuleSet, SegmentIx},
        context::Context,
        evaluate::{Evaluator, UserView},
        profile::Traits,
        rule::{SegmentRule, Targeting},
        user::{Lists, UserState},
    },
    ids::{NameHash, Uid},
    values::{Millis, Span},
};

const NOW: Millis = Millis(1_790_000_000_000);
const WINDOWS: [&str; 13] =
    ["PT5M", "PT30M", "PT1H", "PT6H", "P1D", "P3D", "P7D", "P14D", "P30D", "P60D", "P90D", "P180D", "P365D"];

/// SplitMix64, so that every run measures the same.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Popular events are named more often.
    fn event(&mut self) -> String {
        format!("e{}", self.below(50) * self.below(50) / 50)
    }

    fn keyed(&mut self) -> String {
        format!("k{}", self.below(3))
    }

    /// One condition as marketers write them: two in five on traits and lists, the rest on events.
    fn leaf(&mut self) -> Value {
        let last = json!({"last": self.one(&WINDOWS)});
        match self.below(100) {
            0..=17 => json!({"trait": self.one(&["country", "city", "plan", "gender"]), "in": ["GB", "FR", "gold"]}),
            18..=27 => {
                let least = self.below(60);
                json!({"trait": self.one(&["age", "spend", "orders"]), "gte": least, "lt": least + 20})
            }
            28..=33 => json!({"trait": "interests", "has_any": ["running", "travel"]}),
            34..=39 => json!({"trait": self.one(&["last_purchase", "signup"]), "within_last": self.one(&WINDOWS)}),
            40 => json!({"trait": "home", "near": {"lat": 51.0, "lon": 0.0, "km": 100}}),
            41..=46 => json!({"list": format!("list-{}", self.below(20))}),
            47..=49 => json!({"event": self.event(), "count": {"eq": 0}, "in": last}),
            50..=63 => json!({"event": self.event(), "count": {"gte": 1 + self.below(4)}, "in": last}),
            64..=66 => {
                json!({"event": self.event(), "count": {"gte": 1}, "in": {"ago": {"from": "P60D", "to": "P7D"}}})
            }
            67..=68 => json!({"event": self.event(), "count": {"gte": 1}, "in": {"calendar": "days", "n": 7}}),
            69..=70 => json!({"event": self.event(), "count": {"gte": 1 + self.below(9)}, "in": {"ever": true}}),
            71..=78 => {
                let is = json!({"gte": self.one(&[10, 50, 100, 500])});
                json!({"event": format!("e{}", self.below(3)), "sum": {"of": "amount", "is": is}, "in": last})
            }
            79..=82 => {
                json!({"event": self.keyed(), "distinct": {"of": "item", "is": {"gte": 1 + self.below(5)}}, "in": last})
            }
            83..=90 => json!({"event": self.event(), "last_seen": {"older_than": "P3D", "within": "P90D"}}),
            91..=97 => {
                let mut sequence = json!({"start": {"event": self.event()},
                    "then": [{"not": self.event(), "within": self.one(&WINDOWS[..5])}], "lookback": self.one(&WINDOWS[5..10])});
                if self.below(3) == 0 {
                    sequence["start"]["event"] = json!("k0");
                    sequence["then"][0]["not"] = json!("k1");
                    sequence["same"] = json!("item");
                }
                json!({"sequence": sequence})
            }
            _ => json!({"sample": {"salt": "a", "from": 0, "to": 1 + self.below(5_000)}}),
        }
    }

    /// All of two to four conditions, alternatives and exclusions, some resting on other segments.
    fn rule(&mut self, at: u64) -> Value {
        let parts: Vec<_> = (0..2 + self.below(3))
            .map(|_| match self.below(10) {
                6 => json!({"not": self.leaf()}),
                7 if at > 20 => json!({"segment": format!("s{}", self.below(at))}),
                8 | 9 => json!({"any": (0..2 + self.below(2)).map(|_| self.leaf()).collect::<Vec<_>>()}),
                _ => self.leaf(),
            })
            .collect();
        json!({"all": parts})
    }
}

fn rules(count: u64) -> RuleSet {
    let mut draw = Draw(7);
    let lists = (0..20).map(|n| (format!("list-{n}"), json!({"v": 1, "kind": "static"})));
    let dynamic = (0..count).map(|n| (format!("s{n}"), json!({"v": 1, "kind": "dynamic", "match": draw.rule(n)})));
    let parsed = lists
        .chain(dynamic.collect::<Vec<_>>())
        .map(|(key, rule)| (key.parse().expect("a key"), SegmentRule::parse(&rule).expect("a rule")));
    let (rules, refused) = RuleSet::build(&parsed.collect::<Vec<_>>());
    // A long chain of segments that rest on one another is refused, with those that rest on it.
    assert!(refused.len() < 1 + count as usize / 50, "{}", refused[0].1);
    rules
}

fn event(name: &str, ago_ms: u64, properties: &Value) -> Event {
    let properties = properties.as_object().expect("an object").clone();
    Event { name: name.parse().expect("a name"), at: NOW.plus(-(ago_ms as i64)), properties }
}

fn nobody() -> UserState {
    let traits = json!({"country": "GB", "age": 31, "interests": ["running", "cycling"], "last_purchase": "2026-09-11T10:00:00Z",
        "spend": 420.5, "home": {"lat": 51.5, "lon": -0.12}, "signup": "2024-02-03", "plan": "gold", "gender": "f",
        "city": "London", "vip": true, "birthday": "1995-05-17"});
    let mut caps = CapRing::default();
    (0..3).for_each(|campaign| caps.absorb(NameHash(campaign), NOW, Span::from_millis(86_400_000)));
    let lists = Lists::new((0..5).map(|n| (NameHash::of(&format!("list-{n}")), None)));
    UserState::new(1, Traits::parse(&traits, NOW.plus(-86_400_000)).expect("traits"), lists, caps)
}

/// Someone whose `kept` entries over all tracks are about `entries`: of every third event type, a
/// few times each over half a year, and of keyed ones some items.
fn person(streams: &Streams, tracks: usize, entries: usize) -> (UserState, usize) {
    let (mut draw, mut state, mut count) = (Draw(11), nobody(), 0);
    let mut chosen: Vec<_> = streams.iter().map(|stream| stream.id()).collect();
    // Unkeyed tracks first, then keys: as many of either as the person has.
    let keyed: Vec<_> =
        streams.iter().filter(|stream| stream.key().is_some()).map(|stream| stream.id()).take(3).collect();
    chosen.retain(|id| !streams.iter().any(|stream| stream.id() == *id && stream.key().is_some()));
    let unkeyed: Vec<_> = (0..tracks - 9).map(|at| chosen[at * 2 % chosen.len()]).collect();
    let each = entries / tracks;
    for (at, id) in unkeyed.iter().enumerate() {
        let only = streams.only(&[*id]);
        let name = only.iter().next().expect("a stream").event().as_str().to_owned();
        for _ in 0..each + usize::from(at % 2 == 0 && at < 4) {
            let far = draw.below(1 << 12);
            let ago = far * far * 900 + draw.below(3_600_000);
            let amount = draw.below(90_00) as f64 / 100.0;
            state.absorb(&only, &event(&name, ago, &json!({"amount": amount})));
            count += 1;
        }
    }
    for id in keyed {
        let only = streams.only(&[id]);
        let name = only.iter().next().expect("a stream").event().as_str().to_owned();
        for item in 0..3 {
            for _ in 0..each {
                let ago = draw.below(90 * 86_400_000);
                state.absorb(&only, &event(&name, ago, &json!({"item": item, "amount": 5})));
                count += 1;
            }
        }
    }
    (state, count)
}

/// The median time of a call, of rounds so short that other work on the machine seldom falls into
/// one.
fn median<T>(calls: u32, mut call: impl FnMut() -> T) -> Duration {
    let mut rounds: Vec<_> = (0..501)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| {
                black_box(call());
            });
            start.elapsed() / calls
        })
        .collect();
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

fn told(what: &str, took: Duration, goal: Duration) {
    let met = if took <= goal { "met" } else { "MISSED" };
    println!(
        "{what:<58} {:>10.3} us   goal {:>8.1} us   {met}",
        took.as_nanos() as f64 / 1e3,
        goal.as_nanos() as f64 / 1e3
    );
}

fn main() {
    let context = Context::default();
    let [some, many, most] = [200, 1_000, 10_000].map(rules);
    let us = Duration::from_micros;
    let (state, events) = person(most.streams(), 31, 126);
    println!(
        "the typical person: {events} events; {} streams of 10,000 rules, {} of the person",
        most.streams().len(),
        state.activity.streams().count()
    );
    let user = UserView { state: Some(&state), uid: Some(Uid(7)), ..UserView::default() };
    let held = |rules: &RuleSet, ask: &[SegmentIx]| {
        let mut evaluator = Evaluator::new(rules, user, &context, NOW);
        ask.iter().filter(|&&ix| evaluator.segment(ix).holds()).count()
    };
    let all = |rules: &RuleSet| rules.all().skip(20).collect::<Vec<_>>();
    let in_play = |rules: &RuleSet| all(rules).into_iter().step_by(rules.len() / 20).take(20).collect::<Vec<_>>();
    for (rules, name) in [(&some, "200"), (&most, "10,000")] {
        let ask = in_play(rules);
        let what = format!("20 segments in play of {name} ({} held)", held(rules, &ask));
        told(&what, median(50, || held(black_box(rules), black_box(&ask))), us(2));
    }
    for (rules, calls, goal, name) in [(&many, 2, 60, "1,000"), (&most, 1, 700, "10,000")] {
        let ask = all(rules);
        let what = format!("all of {name} segments ({} held)", held(rules, &ask));
        told(&what, median(calls, || held(black_box(rules), black_box(&ask))), us(goal));
    }
    let node = json!({"all": [{"any": [{"segment": "s3"}, {"segment": "s9"}]}, {"event": "e0", "count": {"gte": 1}, "in": {"last": "P7D"}}]});
    let condition = some.bind(&Targeting::parse(&node).expect("a rule")).expect("a condition");
    let ask = || Evaluator::new(&some, user, &context, NOW).condition(black_box(&condition));
    told("one targeting rule over 2 segments and an event", median(50, ask), us(2));

    // The stream with most events takes one more.
    let streams = most.streams();
    let fullest = state.activity.streams().next().expect("a stream");
    let only = streams.only(&[fullest]);
    let name = only.iter().next().expect("a stream").event().as_str().to_owned();
    let (fresh, packed) = (event(&name, 0, &json!({"item": 1, "amount": 3.5})), state.encode());
    let absorb = || {
        let mut state =
            UserState::decode(black_box(&packed), 1, Lists::default(), CapRing::default()).expect("own bytes");
        state.absorb(&only, black_box(&fresh));
        state.encode()
    };
    told("decode a person, add an event to one stream, encode", median(50, absorb), us(5));
    let popular = streams.of_event(&"e0".parse().expect("a name"));
    let popular_ids: Vec<_> = popular.iter().map(|stream| stream.id()).collect();
    let (only, fresh) = (streams.only(&popular_ids), event("e0", 0, &json!({"item": 1, "amount": 3.5})));
    let absorb = || {
        let mut activity = Activity::decode(black_box(state.activity.as_bytes())).expect("own bytes");
        activity.absorb(&only, black_box(&fresh));
        activity
    };
    let what = format!("decode, add an event to {} streams", popular.len());
    told(&what, median(50, absorb), us(5));
    let size = packed.len();
    println!(
        "packed: {size} bytes, goal 2,150: {}; {} of these are events; {} bytes of heap in memory, goal 2,560",
        if size <= 2_150 { "met" } else { "MISSED" },
        state.activity.as_bytes().len(),
        state.heap_bytes()
    );
}
