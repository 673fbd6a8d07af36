//! No decision puts together what pairing rules keep apart. The rules are judged here by their documents,
//! not by the code that decides. `just proof-pairing` tries a million decisions.
#![expect(clippy::disallowed_methods, reason = "a proof is as long as it is asked to be")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tessera::domain::{
    catalog::{
        key::{DocumentKey, Kind},
        snapshot::{Changed, Snapshot},
    },
    consent::Purposes,
    decision::{
        decide::decide,
        decided::Person,
        learned::{self, Learned, Learner},
        request::{AdRequest, Seed},
        standing::Standing,
    },
    ids::Uid,
    optimizer::{Posterior, Settings, Shape, Snapshot as Draws, Statistics},
    values::Millis,
};

const NOW: Millis = Millis(1_790_000_000_000);
const DAY: i64 = 86_400_000;
/// Decisions by each creative.
const EACH: u64 = 100;

/// A source of choices: SplitMix64.
struct Dice(u64);

impl Dice {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

fn write(kind: Kind, id: &str, body: Value) -> Changed {
    (DocumentKey::new(kind, id), Some(body))
}

/// Rules that name any components of different slots, whether they make sense together or not.
fn rules(dice: &mut Dice, slots: &[Vec<String>]) -> Vec<Value> {
    let rule = |dice: &mut Dice| {
        let mut order: Vec<usize> = (0..slots.len()).collect();
        (0..order.len()).for_each(|at| order.swap(at, dice.below(slots.len() as u64) as usize));
        order.truncate(2 + dice.below(slots.len() as u64 - 1) as usize);
        let mut ids: Vec<&String> = order.iter().map(|slot| dice.pick(&slots[*slot])).collect();
        match dice.below(3) {
            0 => json!({"forbid": ids}),
            1 => json!({"group": ids}),
            _ => {
                let when = ids.remove(0);
                ids.push(dice.pick(&slots[order[1]]));
                ids.sort();
                ids.dedup();
                json!({"require": {"if": when, "then": ids}})
            }
        }
    };
    (0..1 + dice.below(6)).map(|_| rule(dice)).collect()
}

fn component(dice: &mut Dice, slot: usize, id: &str) -> Value {
    let mut body = json!({"slot": format!("s{slot}"), "value": id, "weight": 1 + dice.below(200)});
    match dice.below(8) {
        0 => body["targeting"] = json!({"context": "keywords", "has_any": [dice.pick(&["run", "swim", "ride"])]}),
        1 => body["targeting"] = json!({"sample": {"salt": "x", "from": 0, "to": 5_000}}),
        2 => body["locale"] = json!(dice.pick(&["de", "de-CH", "en"])),
        3 => body["flight"] = json!({"end": NOW.plus(*dice.pick(&[-1, 1]) * DAY)}),
        4 if dice.below(3) == 0 => body["status"] = json!("paused"),
        _ => {}
    }
    body
}

/// A creative of 2 to 6 slots of up to 5 components, shown by one campaign, and its rules.
fn world(dice: &mut Dice) -> (Snapshot, Vec<Value>) {
    let slots: Vec<Vec<String>> = (0..2 + dice.below(5))
        .map(|slot| (0..1 + dice.below(5)).map(|component| format!("{slot}-{component}")).collect())
        .collect();
    let components: Value = slots
        .iter()
        .enumerate()
        .flat_map(|(slot, ids)| ids.iter().map(move |id| (slot, id)))
        .map(|(slot, id)| (id.clone(), component(dice, slot, id)))
        .collect();
    let rules = rules(dice, &slots);
    // not every slot is in both templates
    let template = |names: &[usize]| {
        let text: Value =
            names.iter().map(|slot| (format!("s{slot}"), json!({"type": "text", "default": "-"}))).collect();
        let marks: String = names.iter().map(|slot| format!("{{{{s{slot}}}}}")).collect();
        (text, format!("<body><a href=\"{{{{click_url}}}}\">{marks}</a></body>"))
    };
    let all: Vec<usize> = (0..slots.len()).collect();
    let templates: Value = [("all", &all[..], "300x250"), ("some", &all[..slots.len() - 1], "728x90")]
        .map(|(id, names, size)| {
            let (slots, markup) = template(names);
            (id.to_owned(), json!({"name": id, "format": "html", "size": size, "slots": slots, "markup": markup}))
        })
        .into_iter()
        .collect();
    let revision = json!({"revision": 1, "published_at": NOW, "templates": templates, "components": components,
        "creative": {"name": "C", "advertiser": "shop", "templates": ["all", "some"], "pairing": rules}});
    let campaign = json!({"name": "K", "advertiser": "shop", "status": "active", "creatives": ["c"],
        "landing_url": "https://shop.example/", "rotation": dice.pick(&["weighted", "even", "optimized"]),
        "holdout": dice.pick(&[0.0, 0.2]), "control": dice.pick(&["default", "even"])});
    let snapshot = Snapshot::empty().evolve(
        1,
        vec![
            write(Kind::Advertiser, "shop", json!({"name": "Shop", "domain": "shop.example"})),
            write(Kind::Revision, "c/1", revision),
            write(Kind::Publication, "c", json!({"revision": 1, "status": "published"})),
            write(Kind::Campaign, "k", campaign),
        ],
        "https://t.example",
        NOW,
    );
    (snapshot, rules)
}

/// What may have been learned of the only campaign: its draws favour some combinations over others.
fn learned(snapshot: &Snapshot, dice: &mut Dice) -> Learned {
    let line = &snapshot.lines[0];
    let creative = &line.creatives[0];
    let mut shape = Shape::default();
    learned::admit(&mut shape, snapshot, &line.campaign, creative);
    let (statistics, settings) = (Statistics::new(shape.layout()), Settings::default());
    let posterior = Posterior::new(&statistics, &settings);
    let draws = Draws::new(dice.draw(), 1, &posterior, &statistics, &settings);
    let learner = Learner::new(shape, 1, Some(draws));
    [((line.campaign.hash, creative.lasting), std::sync::Arc::new(learner))].into_iter().collect()
}

/// Whether a rule is broken by the components that are shown.
fn broken(rule: &Value, shown: &BTreeSet<&str>) -> bool {
    let of = |name: &str| rule[name].as_array().map(|ids| ids.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let has = |id: &&str| shown.contains(id);
    let slot = |id: &str| id.split_once('-').map(|(slot, _)| slot.to_owned());
    if let Some(ids) = of("forbid") {
        return ids.iter().all(has);
    }
    if let Some(ids) = of("group") {
        return ids.iter().any(has) && !ids.iter().all(has);
    }
    let then: Vec<&str> = rule["require"]["then"].as_array().expect("ids").iter().filter_map(Value::as_str).collect();
    // of those of one slot any will do
    let met = then.iter().all(|id| then.iter().any(|other| slot(other) == slot(id) && has(other)));
    has(&rule["require"]["if"].as_str().expect("an id")) && !met
}

/// What was tried.
#[derive(Default)]
struct Tried {
    decided: u64,
    /// With components that rules name.
    tied: u64,
    /// Chosen by what was learned.
    learned: u64,
}

#[test]
fn no_decision_breaks_a_pairing_rule() {
    let asked = std::env::var("TESSERA_PROOF_DECISIONS").ok().and_then(|count| count.parse().ok());
    let usual = if std::env::var_os("CI").is_some() { 1_000_000 } else { 20_000 };
    let wanted: u64 = asked.unwrap_or(usual);
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let tried = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || many(Dice(7 + thread), wanted.div_ceil(threads)))).collect();
        all.into_iter().fold(Tried::default(), |all, one| {
            let one = one.join().expect("no rule is broken");
            Tried { decided: all.decided + one.decided, tied: all.tied + one.tied, learned: all.learned + one.learned }
        })
    });
    let Tried { decided, tied, learned } = tried;
    println!(
        "{decided} decisions of {} creatives, {tied} with components that rules name, {learned} by what was learned: \
         0 violations",
        decided / EACH
    );
    assert!(tied * 2 > decided, "{tied} of {decided}");
    assert!(learned * 20 > decided, "{learned} of {decided}");
}

/// So many decisions of random creatives, none of which may break a rule.
fn many(mut dice: Dice, wanted: u64) -> Tried {
    let person = Person {
        state: None,
        standing: Standing::Personalised,
        counted: true,
        degraded: &[],
        reserved: &[],
        recorded: &[],
        replay: None,
    };
    let (mut tried, mut refused) = (Tried::default(), 0);
    while tried.decided < wanted {
        let (snapshot, rules) = world(&mut dice);
        if !snapshot.faults.is_empty() {
            // rules that can never hold are refused
            refused += 1;
            assert!(refused < 1_000 + tried.decided, "{:?}", snapshot.faults);
            continue;
        }
        // of the creatives of optimised campaigns, most have something learned to choose by
        let learned = if dice.below(4) == 0 { Learned::default() } else { learned(&snapshot, &mut dice) };
        for _ in 0..EACH {
            let words: Vec<_> = ["run", "swim", "ride"].into_iter().filter(|_| dice.below(2) == 0).collect();
            let asked = json!({"placements": [{"id": "a", "sizes": [dice.pick(&["300x250", "728x90"])], "formats": ["html"],
                "keywords": words}], "context": {"language": dice.pick(&["de-CH", "de", "en-US", "fr"])}});
            let mut request: AdRequest = serde_json::from_value(asked).expect("a request");
            request.person = (dice.below(8) > 0).then(|| Uid(u128::from(dice.draw()) << 64 | u128::from(dice.draw())));
            let seed = Seed(std::array::from_fn(|_| dice.draw() as u8));
            let decision =
                decide(&snapshot, &learned, &request, &person, Purposes::ALL, NOW, seed).expect("a decision");
            let showing = decision.placements[0][0].shown.as_ref().expect("the only campaign");
            let shown: BTreeSet<&str> = (0..showing.creative.slots.len())
                .filter_map(|slot| showing.creative.chosen(slot, &showing.choice))
                .map(|component| component.id.as_str())
                .collect();
            tried.decided += 1;
            tried.learned += u64::from(showing.thought.is_some());
            tried.tied += u64::from(rules.iter().any(|rule| {
                let text = rule.to_string();
                shown.iter().any(|id| text.contains(&format!("\"{id}\"")))
            }));
            let wrong: Vec<_> = rules.iter().filter(|rule| broken(rule, &shown)).collect();
            assert!(wrong.is_empty(), "{shown:?} breaks {wrong:?}");
        }
    }
    tried
}

#[test]
fn what_is_broken_is_seen() {
    let shown = BTreeSet::from(["0-0", "1-1"]);
    for (rule, is_broken) in [
        (json!({"forbid": ["0-0", "1-1"]}), true),
        (json!({"forbid": ["0-0", "1-0"]}), false),
        (json!({"group": ["0-0", "1-0"]}), true),
        (json!({"group": ["0-1", "1-0"]}), false),
        (json!({"require": {"if": "0-0", "then": ["1-0", "1-1"]}}), false),
        (json!({"require": {"if": "0-0", "then": ["1-1", "2-0"]}}), true),
        (json!({"require": {"if": "0-1", "then": ["1-0"]}}), false),
    ] {
        assert_eq!(broken(&rule, &shown), is_broken, "{rule}");
    }
}
