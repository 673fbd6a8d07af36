//! The evaluator against a second one that reads the documents as they are and knows nothing but
//! the instant: same answers everywhere, and no change inside a stretch that was promised.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    caps::CapRing,
    compile::RuleSet,
    context::Context,
    evaluate::{Evaluator, UserView},
    profile::{TraitPatch, Traits},
    rule::SegmentRule,
    user::{Lists, UserState},
    verdict::Verdict,
};
use crate::domain::{
    ids::{NameHash, SegmentKey, Uid},
    values::Millis,
};

/// Midnight of 1 March 2026 UTC: the end of a February without a 29th.
const BASE: i64 = 1_772_323_200_000;
const DAY: i64 = 86_400_000;

struct Person {
    traits: BTreeMap<String, (Value, i64)>,
    lists: BTreeMap<String, Option<i64>>,
}

struct World {
    rules: BTreeMap<String, Value>,
    person: Person,
}

/// SplitMix64: enough for drawing cases.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }

    /// An instant on a coarse grid, so that edges fall together often.
    fn instant(&mut self) -> i64 {
        BASE + 500 * (self.below(24) as i64 - 12)
    }

    fn span(&mut self) -> String {
        self.one(&["PT1S", "PT2S", "PT5S", "P1D", "P364D"]).to_owned()
    }

    fn letters(&mut self, most: u64) -> Value {
        (0..1 + self.below(most)).map(|_| self.one(&["a", "ab", "b", "c"])).collect()
    }

    fn operator(&mut self) -> (&'static str, Value) {
        match self.below(24) {
            0 => ("exists", json!(self.below(2) == 0)),
            1 => ("eq", self.one(&[json!("a"), json!(2), json!(true)])),
            2 => ("ne", self.one(&[json!("a"), json!(2), json!(true)])),
            3 => ("gt", json!(self.below(4))),
            4 => ("gte", json!(self.below(4))),
            5 => ("lt", json!(self.below(4))),
            6 => ("lte", json!(self.below(4))),
            7 => ("in", json!(["a", "c", 1, 3])),
            8 => ("not_in", self.one(&[json!(["a", "c"]), json!([1, false])])),
            9 => ("has_any", self.letters(3)),
            10 => ("has_all", self.letters(2)),
            11 => ("has_none", self.letters(3)),
            12 => ("starts_with", self.one(&[json!("a"), json!("20")])),
            13 => ("contains", self.one(&[json!("b"), json!("-")])),
            14 => ("before", json!(Millis(self.instant()).to_string())),
            15 => ("after", json!(Millis(self.instant()).to_string())),
            16 => ("near", json!({"lat": 51.5, "lon": -0.1, "km": 25})),
            17 => ("max_age", json!(self.span())),
            18 | 19 => ("within_last", json!(self.span())),
            20 => ("older_than", json!(self.span())),
            21 | 22 => ("within_next", json!(self.span())),
            _ => ("anniversary_within", json!(self.span())),
        }
    }

    fn leaf(&mut self, segment: u64) -> Value {
        match self.below(8) {
            0 => json!({"list": self.one(&["l0", "l1", "l2"])}),
            1 if segment > 0 => json!({"segment": format!("s{:02}", self.below(segment))}),
            2 => json!({"sample": {"salt": "x", "from": 0, "to": 10_000}}),
            _ => {
                let mut test = Map::new();
                test.insert("trait".to_owned(), json!(self.one(&["n", "w", "set", "t", "u", "d", "home"])));
                for _ in 0..1 + self.below(2) {
                    let (operator, operand) = self.operator();
                    test.insert(operator.to_owned(), operand);
                }
                Value::Object(test)
            }
        }
    }

    fn node(&mut self, segment: u64, depth: u64) -> Value {
        let children =
            |draw: &mut Self| -> Value { (0..1 + draw.below(3)).map(|_| draw.node(segment, depth + 1)).collect() };
        match self.below(10) {
            0..=1 if depth < 4 => json!({"all": children(self)}),
            2..=3 if depth < 4 => json!({"any": children(self)}),
            4 if depth < 4 => json!({"not": self.node(segment, depth + 1)}),
            _ => self.leaf(segment),
        }
    }

    /// Leaf rules first, so that exactness can be asked of them; then composed ones.
    fn world(&mut self) -> World {
        let mut rules = BTreeMap::new();
        for at in 0..12 {
            let node = if at < 6 { self.leaf(0) } else { self.node(at, 0) };
            rules.insert(format!("s{at:02}"), node);
        }
        let mut traits = BTreeMap::new();
        for name in ["n", "w", "set", "t", "u", "d", "home"] {
            let time = Millis(self.instant()).to_string();
            let day = self.one(&["2001-03-01", "2000-02-29", "2020-02-28", "2026-03-02", "2031-03-01"]);
            let value = match (name, self.below(8)) {
                (_, 0) => continue,
                (_, 1) => self.one(&[json!("a"), json!(2), json!(true), json!(day), json!(["a"])]),
                ("n", _) => json!(self.below(4)),
                ("w", _) => json!(self.one(&["a", "ab", "b", "2001"])),
                ("set", _) => self.letters(3),
                ("d", _) => json!(day),
                ("home", _) => self.one(&[json!({"lat": 51.6, "lon": 0.0}), json!({"lat": 48.8, "lon": 2.3})]),
                _ => json!(time),
            };
            traits.insert(name.to_owned(), (value, self.instant().min(BASE)));
        }
        let mut lists = BTreeMap::new();
        for name in ["l0", "l1"] {
            let expires = (self.below(3) > 0).then(|| self.instant());
            if self.below(3) > 0 {
                lists.insert(name.to_owned(), expires);
            }
        }
        World { rules, person: Person { traits, lists } }
    }
}

fn span_ms(text: &Value) -> i64 {
    match text.as_str().expect("a duration") {
        "PT1S" => 1_000,
        "PT2S" => 2_000,
        "PT5S" => 5_000,
        "P1D" => DAY,
        "P364D" => 364 * DAY,
        other => panic!("the oracle does not know {other}"),
    }
}

/// Days since 1970-01-01 of a day of the Gregorian calendar.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let leap = |y: i64| i64::from(y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
    let lengths = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: i64 = (1970..year).map(|y| 365 + leap(y)).sum();
    years + lengths.iter().take(month as usize - 1).sum::<i64>() + day.min(lengths[month as usize - 1]) - 1
}

fn instant_of(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() }.parse().ok().map(|at: Millis| at.0)
}

fn operator_holds(operator: &str, operand: &Value, value: &Value, set_at: i64, now: i64) -> bool {
    let elements = match value {
        Value::Array(items) => items.clone(),
        Value::Object(_) => Vec::new(),
        one => vec![one.clone()],
    };
    let is_text = value.is_string() || value.is_array();
    let kind = |v: &Value| {
        if v.is_number() {
            0
        } else if v.is_boolean() {
            1
        } else {
            2
        }
    };
    let operands = operand.as_array().cloned().unwrap_or_else(|| vec![operand.clone()]);
    let comparable =
        !value.is_object() && operands.iter().any(|o| if is_text { o.is_string() } else { kind(o) == kind(value) });
    let same = |a: &Value, b: &Value| if a.is_number() { a.as_f64() == b.as_f64() } else { a == b };
    let among = elements.iter().any(|e| operands.iter().any(|o| same(e, o)));
    let numbers = value.as_f64().zip(operand.as_f64());
    let any_text = |test: &dyn Fn(&str) -> bool| is_text && elements.iter().any(|e| test(e.as_str().expect("a text")));
    let part = operand.as_str().unwrap_or_default();
    let at = instant_of(value);
    match operator {
        "exists" => operand == true,
        "eq" | "in" | "has_any" => among,
        "ne" | "not_in" | "has_none" => comparable && !among,
        "has_all" => is_text && operands.iter().all(|o| elements.contains(o)),
        "gt" => numbers.is_some_and(|(a, b)| a > b),
        "gte" => numbers.is_some_and(|(a, b)| a >= b),
        "lt" => numbers.is_some_and(|(a, b)| a < b),
        "lte" => numbers.is_some_and(|(a, b)| a <= b),
        "starts_with" => any_text(&|text| text.starts_with(part)),
        "contains" => any_text(&|text| text.contains(part)),
        "before" => at.is_some_and(|t| t < instant_of(operand).expect("an instant")),
        "after" => at.is_some_and(|t| t > instant_of(operand).expect("an instant")),
        "near" => value.get("lat").is_some_and(|lat| lat == 51.6),
        "max_age" => now - set_at < span_ms(operand),
        "within_last" => at.is_some_and(|t| t <= now && now - t < span_ms(operand)),
        "older_than" => at.is_some_and(|t| now - t >= span_ms(operand)),
        "within_next" => at.is_some_and(|t| t > now && t - now <= span_ms(operand)),
        "anniversary_within" => {
            at.is_some() && {
                let text = value.as_str().expect("an instant is a text");
                let field = |from: usize, to: usize| text[from..to].parse::<i64>().expect("a number");
                (field(0, 4).max(1970)..2040).any(|year| {
                    let begin = day_number(year, field(5, 7), field(8, 10)) * DAY;
                    begin - span_ms(operand) <= now && now < begin + DAY
                })
            }
        }
        other => panic!("the oracle does not know {other}"),
    }
}

fn holds(node: &Value, world: &World, now: i64) -> bool {
    let each = |kind: &str| node[kind].as_array().expect("an array").iter().map(|child| holds(child, world, now));
    let (kind, person) = (|kind: &str| node.get(kind), &world.person);
    if kind("all").is_some() {
        each("all").fold(true, |whole, one| whole & one)
    } else if kind("any").is_some() {
        each("any").fold(false, |whole, one| whole | one)
    } else if let Some(child) = kind("not") {
        !holds(child, world, now)
    } else if let Some(name) = kind("segment") {
        holds(&world.rules[name.as_str().expect("a name")], world, now)
    } else if let Some(name) = kind("list") {
        let listed = person.lists.get(name.as_str().expect("a name"));
        listed.is_some_and(|expires| expires.is_none_or(|at| now < at))
    } else if kind("sample").is_some() {
        true
    } else {
        let tests = node.as_object().expect("an object").iter().filter(|(operator, _)| *operator != "trait");
        match person.traits.get(node["trait"].as_str().expect("a name")) {
            Some((value, set_at)) => tests.fold(true, |whole, (operator, operand)| {
                whole & operator_holds(operator, operand, value, *set_at, now)
            }),
            None => tests.fold(true, |whole, (operator, operand)| whole & (operator == "exists" && operand == false)),
        }
    }
}

/// Counts what is wrong with the answers for the worlds of `seeds`, each changed by `plant`.
fn faults(seeds: impl Iterator<Item = u64>, thorough: bool, plant: impl Fn(Verdict) -> Verdict) -> Vec<String> {
    let mut found = Vec::new();
    for seed in seeds {
        let mut draw = Draw(seed);
        let world = draw.world();
        let (rules, state) = compiled(&world);
        let user = UserView { state: Some(&state), uid: Some(Uid(7)), ..UserView::default() };
        let context = Context::default();
        for _ in 0..4 {
            let now = draw.instant() + draw.below(3) as i64 - 1;
            let mut evaluator = Evaluator::new(&rules, user, &context, Millis(now));
            if thorough {
                evaluator = evaluator.thorough();
            }
            for (at, (key, node)) in world.rules.iter().enumerate() {
                let ix = rules.ix(&key.parse().expect("a key")).expect("a segment");
                let verdict = plant(evaluator.segment(ix));
                let fault = judge(node, &world, now, verdict, at < 6 && single(node), &mut draw);
                found.extend(fault.map(|fault| format!("seed {seed}, {key} at {now}: {fault}: {node} {verdict:?}")));
            }
        }
    }
    found
}

/// Whether the answer of `node` is that of one operator, which must be exact.
fn single(node: &Value) -> bool {
    node.get("trait").is_none() || node.as_object().is_some_and(|fields| fields.len() == 2)
}

fn judge(node: &Value, world: &World, now: i64, verdict: Verdict, exact: bool, draw: &mut Draw) -> Option<String> {
    let holds = |at: i64| holds(node, world, at);
    if holds(now) != verdict.holds() {
        return Some("wrong".to_owned());
    }
    let until = verdict.valid_until().map_or(now + 400 * DAY, |until| until.0);
    let since = verdict.since().map_or(now - 400 * DAY, |since| since.0);
    if since > now || until <= now {
        return Some("the promised stretch does not contain now".to_owned());
    }
    let grid = |draw: &mut Draw| BASE + 500 * (draw.below(60) as i64 - 30);
    let probes = [until - 1, since, now + 1, grid(draw), grid(draw), now + draw.below((until - now) as u64) as i64];
    for probe in probes.into_iter().filter(|&at| since <= at && at < until) {
        if holds(probe) != verdict.holds() {
            return Some(format!("changes at {probe}, inside the promised stretch"));
        }
    }
    if exact && verdict.valid_until().is_some() && holds(until) == verdict.holds() {
        return Some("does not change at the end of the promised stretch".to_owned());
    }
    let set_at = world.person.traits.get(node["trait"].as_str().unwrap_or_default()).map(|held| held.1);
    if exact
        && verdict.since().is_some()
        && Some(since) != set_at.map(|at| at.min(now))
        && holds(since - 1) == verdict.holds()
    {
        return Some("does not change at the start of the promised stretch".to_owned());
    }
    None
}

fn compiled(world: &World) -> (RuleSet, UserState) {
    let key = |name: &str| name.parse::<SegmentKey>().expect("a key");
    let dynamic = world.rules.iter().map(|(name, node)| {
        let rule = json!({"v": 1, "kind": "dynamic", "match": node});
        (key(name), SegmentRule::parse(&rule).unwrap_or_else(|faults| panic!("{rule}: {faults:?}")))
    });
    let lists = ["l0", "l1", "l2"].map(|name| (key(name), SegmentRule::Static));
    let (rules, refused) = RuleSet::build(&dynamic.chain(lists).collect::<Vec<_>>());
    assert_eq!(refused, []);
    let traits = world.person.traits.iter().fold(Traits::default(), |traits, (name, (value, set_at))| {
        let patch = TraitPatch::parse(&json!({name: value})).expect("a trait");
        traits.patched(&patch, Millis(*set_at)).expect("few traits")
    });
    let lists = world.person.lists.iter().map(|(name, expires)| (NameHash::of(name), expires.map(Millis)));
    // Through the packed form, as the store keeps it.
    let packed = UserState::new(1, traits, Lists::default(), CapRing::default()).encode();
    let state = UserState::decode(&packed, 1, Lists::new(lists), CapRing::default()).expect("own bytes");
    (rules, state)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn answers_agree_and_promised_stretches_hold(seed in any::<u64>(), thorough in any::<bool>()) {
        prop_assert_eq!(faults(std::iter::once(seed), thorough, |verdict| verdict), Vec::<String>::new());
    }
}

/// The check above would notice each of these mistakes.
#[test]
fn planted_faults_are_found() {
    let later = |at: Option<Millis>| at.map(|at| at.plus(1));
    let plants: [fn(Verdict) -> Verdict; 4] = [
        |verdict| verdict.until(None),
        |verdict| verdict.starting(None),
        |verdict| if verdict.holds() { verdict } else { verdict.until(None) },
        |verdict| !verdict,
    ];
    for (at, plant) in plants.into_iter().enumerate() {
        assert!(!faults(0..40, true, plant).is_empty(), "plant {at} was not found");
    }
    let late = |verdict: Verdict| verdict.until(later(verdict.valid_until()));
    assert!(!faults(0..40, true, late).is_empty());
    let early = |verdict: Verdict| verdict.starting(verdict.since().map(|at| at.plus(-1)));
    assert!(!faults(0..40, true, early).is_empty());
    assert_eq!(faults(0..40, true, |verdict| verdict), Vec::<String>::new());
}
