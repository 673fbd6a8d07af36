//! What it costs to know a person's segments: the goal is 20 in play in at most 2 us, 1,000 in
//! at most 60 us.
//!
//! `cargo bench --bench audience`

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tessera::domain::{
    audience::{
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

/// One condition among those that marketers write most.
fn leaf(n: u64) -> Value {
    match n % 10 {
        0 => json!({"trait": "country", "in": ["GB", "IE", "FR", "DE"]}),
        1 => json!({"trait": "age", "gte": 18 + n % 30, "lt": 26 + n % 30}),
        2 => json!({"trait": "interests", "has_any": ["running", "travel"]}),
        3 => json!({"trait": "last_purchase", "within_last": format!("P{}D", 1 + n % 60)}),
        4 => json!({"trait": "spend", "gte": n % 900}),
        5 => json!({"list": format!("list-{}", n % 20)}),
        6 => json!({"not": {"list": format!("list-{}", n % 20)}}),
        7 => json!({"trait": "home", "near": {"lat": 51.0, "lon": 0.0, "km": 100}}),
        8 => json!({"trait": "signup", "older_than": format!("P{}D", 1 + n % 400)}),
        _ => json!({"trait": "plan", "eq": "gold"}),
    }
}

/// `count` dynamic segments of 2 to 4 conditions, every seventh resting on another one.
fn rules(count: u64) -> RuleSet {
    let lists = (0..20).map(|n| (format!("list-{n}"), json!({"v": 1, "kind": "static"})));
    let dynamic = (0..count).map(|n| {
        let parts: Vec<_> =
            (0..2 + n % 3).map(|part| leaf(n.wrapping_mul(2_654_435_761).rotate_left(7) ^ (part * 3))).collect();
        let node = match n % 7 {
            0 if n > 0 => json!({"all": [{"segment": format!("s{}", n - 1)}, {"any": parts}]}),
            1 => json!({"any": parts}),
            _ => json!({"all": parts}),
        };
        (format!("s{n}"), json!({"v": 1, "kind": "dynamic", "match": node}))
    });
    let parsed = lists
        .chain(dynamic)
        .map(|(key, rule)| (key.parse().expect("a key"), SegmentRule::parse(&rule).expect("a rule")));
    let (rules, refused) = RuleSet::build(&parsed.collect::<Vec<_>>());
    assert!(refused.is_empty());
    rules
}

fn person() -> UserState {
    let traits = json!({"country": "GB", "age": 31, "interests": ["running", "cycling"], "last_purchase": "2026-09-11T10:00:00Z",
        "spend": 420.5, "home": {"lat": 51.5, "lon": -0.12}, "signup": "2024-02-03", "plan": "gold", "gender": "f",
        "city": "London", "vip": true, "birthday": "1995-05-17"});
    let mut caps = CapRing::default();
    (0..3).for_each(|campaign| caps.absorb(NameHash(campaign), NOW, Span::from_millis(86_400_000)));
    let lists = Lists::new((0..5).map(|n| (NameHash::of(&format!("list-{n}")), None)));
    UserState::new(1, Traits::parse(&traits, NOW.plus(-86_400_000)).expect("traits"), lists, caps)
}

fn audience(criterion: &mut Criterion) {
    let (state, context) = (person(), Context::default());
    let user = UserView { state: Some(&state), uid: Some(Uid(7)), ..UserView::default() };
    let few = rules(500);
    let in_play: Vec<SegmentIx> = few.all().skip(20).step_by(25).collect();
    assert_eq!(in_play.len(), 20);
    let evaluate = |rules: &RuleSet, ask: &[SegmentIx]| {
        let mut evaluator = Evaluator::new(rules, user, &context, NOW);
        ask.iter().filter(|&&ix| evaluator.segment(ix).holds).count()
    };
    println!("{} bytes of heap for the person, {} packed", state.heap_bytes(), state.encode().len());
    println!("{} of the 20 segments in play are held", evaluate(&few, &in_play));
    criterion
        .bench_function("20 segments in play of 500", |b| b.iter(|| evaluate(black_box(&few), black_box(&in_play))));
    let many = rules(1_000);
    let all: Vec<_> = many.all().collect();
    criterion.bench_function("all of 1,000 segments", |b| b.iter(|| evaluate(black_box(&many), black_box(&all))));
    let node = json!({"all": [{"any": [{"segment": "s3"}, {"segment": "s9"}]}, {"trait": "age", "gte": 18}]});
    let condition = few.bind(&Targeting::parse(&node).expect("a rule")).expect("a condition");
    criterion.bench_function("one targeting rule over 2 segments", |b| {
        b.iter(|| Evaluator::new(&few, user, &context, NOW).condition(black_box(&condition)));
    });
    let packed = state.encode();
    criterion.bench_function("decode a person of 12 traits", |b| {
        b.iter(|| UserState::decode(black_box(&packed), 1, Lists::default(), CapRing::default()));
    });
}

criterion_group!(benches, audience);
criterion_main!(benches);
