//! The alert rules do what they say, and every query of the dashboard is one that Prometheus reads.
//!
//! Needs `promtool`, which comes with Prometheus; without it the tests say so and pass.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use tollgate_testing::skip;

const DASHBOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");

#[test]
fn the_alert_rules_are_valid() {
    promtool(&["check", "rules", "alerts.yml"]);
}

#[test]
fn each_alert_fires_only_for_its_fault() {
    promtool(&["test", "rules", "alerts_test.yml"]);
}

#[test]
fn every_alert_is_tested_firing_and_quiet() {
    let rules = read("alerts.yml");
    let tests = read("alerts_test.yml");
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    for name in names {
        let fires = format!("alertname: {name}\n        exp_alerts:\n          - exp_labels");
        let quiet = format!("alertname: {name}, exp_alerts: []");
        assert!(tests.contains(&fires), "{name} never fires in a test");
        assert!(tests.contains(&quiet), "{name} is never quiet in a test");
    }
}

#[test]
fn prometheus_can_read_every_query_of_the_dashboard() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("tollgate.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries: Vec<_> = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap())
        .map(|query| query.replace("$__rate_interval", "1m").replace('$', ""))
        .collect();
    assert!(queries.len() > 30);
    // JSON is YAML: each query becomes a recording rule.
    let rules: Vec<_> = queries
        .iter()
        .enumerate()
        .map(|(i, query)| serde_json::json!({ "record": format!("panel:{i}"), "expr": query }))
        .collect();
    let file = serde_json::json!({ "groups": [{ "name": "panels", "rules": rules }] });
    let path = scratch("panels.yml");
    std::fs::write(&path, file.to_string()).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()]);
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(DASHBOARDS).join(file)).expect("a file of this crate")
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn promtool(arguments: &[&str]) {
    let run = Command::new("promtool")
        .args(arguments)
        .current_dir(DASHBOARDS)
        .output();
    match run {
        Ok(output) => assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => skip("promtool", "prometheus"),
        Err(error) => panic!("promtool cannot be run: {error}"),
    }
}
