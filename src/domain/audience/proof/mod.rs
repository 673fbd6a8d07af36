//! The evaluator against a second one that reads the raw log of events: the same answer at every
//! instant, and no change inside a stretch that was promised. Mistakes planted into the evaluator
//! are found.

mod truth;
mod world;
mod write;
mod zones;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use self::{
    truth::{
        Bound, CLUSTER_SCALE, CLUSTER_WINDOW, CLUSTERS, DAY, FAR, Measure, Node, Person, RFM_FREQUENCY, RFM_MONEY,
        RFM_RECENCY, RFM_WINDOW, Truth, Window,
    },
    world::{Draw, World},
    write::span,
    zones::Zone,
};
use super::{
    activity::{
        Event,
        fault::{Fault, plant},
    },
    caps::CapRing,
    compile::RuleSet,
    context::Context,
    evaluate::{Evaluator, UserView},
    models::{ClusterModel, Models, RfmModel},
    profile::{TraitPatch, Traits},
    rule::SegmentRule,
    user::{Lists, UserState},
    verdict::Verdict,
};
use crate::domain::{
    ids::{NameHash, SegmentKey},
    values::Millis,
};

/// What was looked at, and what was wrong.
#[derive(Debug, Default)]
struct Tally {
    checks: u64,
    holding: u64,
    probes: u64,
    exact: u64,
    mismatches: Vec<String>,
    unsound: Vec<String>,
}

impl Tally {
    fn faults(&self) -> usize {
        self.mismatches.len() + self.unsound.len()
    }
}

fn key(name: &str) -> SegmentKey {
    name.parse().expect("a key")
}

fn models() -> Models {
    let rfm: RfmModel = serde_json::from_value(json!({"event": "e0", "amount": "amount", "window": span(RFM_WINDOW),
        "recency": RFM_RECENCY.map(span), "frequency": RFM_FREQUENCY, "money": RFM_MONEY}))
    .expect("a model");
    let last = span(CLUSTER_WINDOW);
    let measures = [
        json!("recency"),
        json!({"count": {"last": last}}),
        json!({"sum": {"of": "amount", "last": last}}),
        json!({"distinct": {"of": "item", "last": last}}),
    ];
    let features = measures.iter().zip(["e1", "e0", "e0", "e2"]).zip(CLUSTER_SCALE);
    let features: Vec<_> = features
        .map(|((measure, event), (mean, scale))| json!({"event": event, "measure": measure, "mean": mean, "scale": scale}))
        .collect();
    let cluster: ClusterModel =
        serde_json::from_value(json!({"features": features, "centroids": CLUSTERS})).expect("a model");
    Models::new([("r".parse().expect("a key"), rfm)], [("k".parse().expect("a key"), cluster)]).expect("sound models")
}

fn compiled(world: &World, models: &Arc<Models>) -> RuleSet {
    let dynamic = world.rules.iter().enumerate().map(|(at, (node, zone))| {
        let rule = json!({"v": 1, "kind": "dynamic", "tz": zone.name(), "match": node.json()});
        (key(&format!("s{at}")), SegmentRule::parse(&rule).unwrap_or_else(|faults| panic!("{rule}: {faults:?}")))
    });
    let lists = (0..3).map(|at| (key(&format!("l{at}")), SegmentRule::Static));
    let rules: Vec<_> = dynamic.chain(lists).collect();
    let rules: Vec<_> = rules.iter().map(|(key, rule)| (key, Some(rule))).collect();
    let (rules, refused) = RuleSet::with_gaps(&rules, Arc::clone(models));
    assert_eq!(refused, []);
    rules
}

fn events(person: &Person) -> impl Iterator<Item = Event> {
    person.log.iter().map(|entry| {
        let mut properties = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            properties.extend(value.map(|value| (name.to_owned(), value)));
        };
        put("amount", Some(entry.cents.map_or(json!("unknown"), |cents| json!(cents as f64 / 100.0))));
        put("item", entry.item.map(|item| json!(item)));
        put("shop", entry.shop.map(|shop| json!(format!("s{shop}"))));
        Event { name: format!("e{}", entry.name).parse().expect("a name"), at: Millis(entry.at), properties }
    })
}

/// Through the packed form, as the store keeps it.
fn state(rules: &RuleSet, person: &Person) -> UserState {
    let traits = person.traits.iter().fold(Traits::default(), |traits, (name, at)| {
        let patch = TraitPatch::parse(&json!({*name: Millis(*at).to_string()})).expect("a trait");
        traits.patched(&patch, Millis(946_684_800_000)).expect("few traits")
    });
    let mut state = UserState::new(1, traits, Lists::default(), CapRing::default());
    events(person).for_each(|event| state.absorb(rules.streams(), &event));
    let lists = person.lists.iter().enumerate();
    let lists = lists.filter_map(|(at, end)| Some((NameHash::of(&format!("l{at}")), Some(Millis((*end)?)))));
    UserState::decode(&state.encode(), 1, Lists::new(lists), CapRing::default()).expect("own bytes")
}

/// Looks at worlds of `seeds`, with at most one probe of each answer besides those next to its
/// ends.
fn look(seeds: impl Iterator<Item = u64>, nows: usize) -> Tally {
    let (mut tally, models, context) = (Tally::default(), Arc::new(models()), Context::default());
    for seed in seeds {
        let mut draw = Draw(seed);
        let world = draw.world(24, 6);
        let rules = compiled(&world, &models);
        let ixs: Vec<_> =
            (0..world.rules.len()).map(|at| rules.ix(&key(&format!("s{at}"))).expect("a segment")).collect();
        for person in &world.people {
            let state = state(&rules, person);
            let truth = Truth::new(&world.rules, person);
            let user = UserView { state: Some(&state), ..UserView::default() };
            for _ in 0..nows {
                let (now, thorough) = (draw.now(&world, person), draw.chance(30));
                let mut evaluator = Evaluator::new(&rules, user, &context, Millis(now));
                if thorough {
                    evaluator = evaluator.thorough();
                }
                for (rule, &ix) in world.rules.iter().zip(&ixs) {
                    let verdict = evaluator.segment(ix);
                    tally.judge(&truth, rule, now, verdict, thorough, &mut draw, seed);
                }
            }
        }
    }
    tally
}

/// Whether an answer ends exactly where its condition changes; `thorough` ones also begin so.
fn ends_exactly(node: &Node, thorough: bool) -> bool {
    let last = |window: &Window| matches!(window, Window::Last(_));
    match node {
        Node::Event(_, _, measure) => match measure {
            Measure::Last(..) | Measure::First(..) => true,
            Measure::Count(_, Window::Calendar(..))
            | Measure::Sum(_, Window::Calendar(..))
            | Measure::Avg(_, Window::Calendar(..))
            | Measure::Distinct(_, Window::Calendar(..)) => false,
            Measure::Count(Bound::Gte(_) | Bound::Lte(_), window)
            | Measure::Distinct(Bound::Gte(_) | Bound::Lte(_), window) => thorough || last(window),
            _ => thorough,
        },
        Node::Sequence(_) | Node::Cluster(..) => thorough,
        _ => false,
    }
}

impl Tally {
    #[expect(clippy::too_many_arguments, reason = "a case is all of these")]
    fn judge(
        &mut self,
        truth: &Truth<'_>,
        rule: &(Node, Zone),
        now: i64,
        verdict: Verdict,
        thorough: bool,
        draw: &mut Draw,
        seed: u64,
    ) {
        let told = |what: &str| format!("seed {seed} at {now}: {what}: {} in {:?}: {verdict:?}", rule.0.json(), rule.1);
        self.checks += 1;
        let holds = truth.holds(rule, now);
        self.holding += u64::from(holds);
        if holds != verdict.holds() {
            return self.mismatches.push(told("wrong"));
        }
        let until = verdict.valid_until().map_or(now + 400 * DAY, |until| until.0);
        let since = verdict.since().map_or(now - FAR, |since| since.0);
        if since > now || until <= now {
            return self.unsound.push(told("the promised stretch does not contain now"));
        }
        let before = match draw.below(4) {
            0 => until - 1,
            1 => now + 1,
            _ => now + draw.logarithmic(until - now),
        };
        let mut probes = Vec::new();
        if draw.chance(40) {
            probes.push(before.min(until - 1));
        }
        if draw.chance(10) {
            probes.push(
                if draw.chance(50) { since } else { now - draw.logarithmic((now - since).min(400 * DAY)) }.max(since),
            );
        }
        for at in probes {
            self.probes += 1;
            if truth.holds(rule, at) != holds {
                return self.unsound.push(told(&format!("changes at {at}, inside the promised stretch")));
            }
        }
        if !ends_exactly(&rule.0, thorough) {
            return;
        }
        if verdict.valid_until().is_some() {
            self.exact += 1;
            if truth.holds(rule, until) == holds {
                self.unsound.push(told("does not change at the end of the promised stretch"));
            }
        }
        if verdict.since().is_some() && thorough {
            self.exact += 1;
            if truth.holds(rule, since - 1) == holds {
                self.unsound.push(told("does not change at the start of the promised stretch"));
            }
        }
    }
}

#[test]
fn answers_agree_with_the_log_and_promised_stretches_hold() {
    const WORLDS: u64 = 90;
    let half = |from: u64| std::thread::spawn(move || look((from..2 * WORLDS).step_by(2), 39));
    let mut tally = Tally::default();
    for half in [half(0), half(1)] {
        let half = half.join().expect("a tally");
        tally.checks += half.checks;
        tally.holding += half.holding;
        tally.probes += half.probes;
        tally.exact += half.exact;
        tally.mismatches.extend(half.mismatches);
        tally.unsound.extend(half.unsound);
    }
    let Tally { checks, holding, probes, exact, mismatches, unsound } = &tally;
    println!(
        "{checks} membership checks ({holding} hold), {} mismatches; {probes} probes of promised stretches and {exact} of \
         their exact ends, {} unsound",
        mismatches.len(),
        unsound.len()
    );
    for fault in mismatches.iter().chain(unsound).take(5) {
        println!("{fault}");
    }
    assert_eq!(tally.faults(), 0);
    assert!(*checks >= 1_000_000 && *probes >= 300_000 && holding * 10 > *checks);
}

/// The look above would notice each of these mistakes.
#[test]
fn planted_faults_are_found() {
    for fault in [Fault::WindowEdge, Fault::AndOfFalse, Fault::SequenceGrace, Fault::DstDay] {
        plant(Some(fault));
        let tally = look(0..6, 30);
        plant(None);
        println!("{fault:?}: {} mismatches, {} unsound", tally.mismatches.len(), tally.unsound.len());
        assert!(tally.faults() > 0, "{fault:?} was not found");
    }
}
