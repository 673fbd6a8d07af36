//! Scenarios with a known truth: in process, and over HTTP.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::{cluster, harness::KEY, process::Process, turn};

/// The scenario of the documentation, much shorter, under a name.
fn scenario(name: &str) -> tempfile::NamedTempFile {
    let mut scenario: Value = serde_json::from_str(include_str!("../../docs/scenario.json")).expect("JSON");
    scenario["T"] = json!(600);
    scenario["name"] = json!(name);
    for (at, phase) in scenario["truth"]["phases"].as_array_mut().expect("phases").iter_mut().enumerate() {
        phase["from"] = json!(at * 300);
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    serde_json::to_writer(&file, &scenario).expect("written");
    file
}

/// The objects that were printed, one after the other.
fn printed(output: &Output) -> Vec<Value> {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    objects.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {errors}"))
}

fn number(of: &Value, name: &str) -> f64 {
    of[name].as_f64().unwrap_or_else(|| panic!("{name} in {of:#}"))
}

#[test]
fn a_simulation_prints_one_object_of_known_members() {
    let file = scenario("first");
    let mut simulate = Command::new(env!("CARGO_BIN_EXE_tessera"));
    let output = simulate.arg("simulate").arg(file.path()).args(["--json", "--seeds", "2"]).output().expect("it ran");
    let reports = printed(&output);
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    for contender in ["tessera", "uniform", "ab_commit", "slot_ts"] {
        let of = &report[contender];
        assert_eq!(number(of, "decisions"), 600.0);
        for regret in ["norm", "norm_t10", "end_norm"] {
            assert!((0.0..3.0).contains(&number(of, regret)), "{contender}: {of:#}");
        }
    }
    assert!((number(&report["uniform"], "norm") - 1.0).abs() < 0.2, "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scenario_is_replayed_over_http() {
    if Command::new("python3").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "the checks bring Python");
        return;
    }
    let _turn = turn(1).await;
    let database = cluster().await.database().await;
    let run = tokio::task::spawn_blocking(move || {
        // the second one has the segments of the first
        let (service, files) = (Process::simulating(&database), ["first", "second"].map(scenario));
        let mut replay = Command::new("python3");
        replay.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/replay.py")).args(files.iter().map(|file| file.path()));
        replay.args(["--url", &service.remote.base, "--key", KEY, "--connections", "2", "--explain", "5"]);
        replay.output().expect("it ran")
    });
    let results = printed(&run.await.expect("no panic"));
    let names: Vec<_> = results.iter().map(|result| result["scenario"].as_str()).collect();
    assert_eq!(names, [Some("first"), Some("second")]);
    for result in results {
        assert_eq!((&result["decisions"], &result["served_unavailable"]), (&json!(600), &json!(0)), "{result:#}");
        for regret in ["norm", "norm_t10", "end_norm"] {
            assert!((0.0..3.0).contains(&number(&result, regret)), "{result:#}");
        }
        // logged probabilities are the truth: weighed to an even choice they come to one
        let weights = &result["mean_weight_to_even"];
        let off = (number(weights, "mean") - 1.0).abs();
        assert!(off < 0.2 + 4.0 * number(weights, "standard_error"), "{result:#}");
    }
}
