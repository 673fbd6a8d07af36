//! The optimizer against scenarios of its own kind with a known truth, drawn anew from seeds: it
//! has to be far better than chance, not worse than its rivals, and better at the end than at the start.
//!
//! `TESSERA_PROOF_ROUNDS` runs each of them more often, and ten times as long if it is above 1.

#![expect(clippy::disallowed_methods, reason = "tests have settings of their own")]

mod generator;

use std::io::Write as _;

use generator::{KINDS, Kind};
use serde_json::{Value, json};
use tessera::{
    domain::optimizer::Settings,
    simulation::{Contender, Scenario, Stage},
};

fn parse(document: &Value) -> Scenario {
    Scenario::parse(document).expect("a scenario")
}

fn every_kind(kinds: &[Kind]) {
    let rounds = std::env::var("TESSERA_PROOF_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1_u64);
    let (seeds, scale) = if rounds > 1 { (rounds, 10) } else { (2, 1) };
    let mut broken = Vec::new();
    let mut table = format!(
        "\n{:<12} {:>8} {:>12} {:>12} {:>10} {:>10} {:>13}\n",
        "", "tessera", "first tenth", "last tenth", "ab_commit", "slot_ts", "slot_beta_eb"
    );
    for kind in kinds {
        let scenario = parse(&kind.scenario(scale, 11));
        let stage = Stage::new(&scenario);
        let run = |contender| stage.run(contender, &Settings::default(), seeds);
        let [ours, even, test, slots, shrunk] = Contender::ALL.map(run);
        table += &format!(
            "{:<12} {:>8.3} {:>12.3} {:>12.3} {:>10.3} {:>10.3} {:>13.3}\n",
            kind.name, ours.norm, ours.norm_t10, ours.end_norm, test.norm, slots.norm, shrunk.norm
        );
        let mut check = |holds: bool, what: &str| {
            if !holds {
                broken.push(format!("{}: {what}", kind.name));
            }
        };
        check((even.norm - 1.0).abs() < 0.05, "an even choice is not chance");
        check(ours.norm <= kind.most, "more regret than may be");
        check(ours.end_norm < ours.norm_t10, "nothing was learned");
        check(ours.norm < test.norm * 1.1, "a test of 16 combinations is better");
        check(shrunk.norm < 1.0, "slots by themselves for each kind of person learn nothing");
        check(ours.norm < slots.norm * kind.rival, "slots by themselves are better");
    }
    // past the harness, which keeps to itself what tests print that pass
    std::io::stdout().write_all(table.as_bytes()).expect("written");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn it_learns_in_every_kind_of_scenario() {
    every_kind(&KINDS);
}

#[test]
fn every_fault_of_a_scenario_is_told_and_none_panics() {
    let good = KINDS[0].scenario(1, 11);
    let mut bad = good.clone();
    bad["T"] = json!(0);
    bad["slots"][0]["components"] = json!([]);
    bad["population"][0]["features"] = json!(["unheard-of"]);
    bad["truth"]["phases"][0]["main"] = json!([[1]]);
    bad["truth"]["phases"][0]["pair"] = json!({"2-1": []});
    bad["truth"]["phases"][0]["bias"] = json!("high");
    bad["feedback"]["kind"] = json!("never");
    let faults = Scenario::parse(&bad).expect_err("faults");
    let has = |pointer: &str| faults.iter().any(|fault| fault.pointer == pointer);
    for pointer in [
        "/T",
        "/slots/0/components",
        "/population/0/features/0",
        "/truth/phases/0/main",
        "/truth/phases/0/pair/2-1",
        "/truth/phases/0/bias",
        "/feedback/kind",
    ] {
        assert!(has(pointer), "{pointer}: {faults:?}");
    }
    // whatever is missing or of another kind anywhere is told
    let mut pointers = vec![String::new()];
    let mut at = 0;
    while at < pointers.len() {
        let here = pointers[at].clone();
        match good.pointer(&here) {
            Some(Value::Object(members)) => pointers.extend(members.keys().map(|name| format!("{here}/{name}"))),
            Some(Value::Array(items)) => pointers.extend((0..items.len().min(2)).map(|item| format!("{here}/{item}"))),
            _ => {}
        }
        at += 1;
    }
    for pointer in pointers {
        for with in [Value::Null, json!("x"), json!(-1), json!([]), json!({}), json!(1e300)] {
            let mut changed = good.clone();
            *changed.pointer_mut(&pointer).expect("a place") = with;
            // a scenario or faults, and no panic
            if let Err(faults) = Scenario::parse(&changed) {
                assert!(!faults.is_empty());
            }
        }
    }
}
