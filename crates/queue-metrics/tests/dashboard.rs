//! The dashboard reads from top to bottom as an incident does.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use serde_json::Value;

const DASHBOARD: &str = include_str!("../dashboards/tollgate.json");
const README: &str = include_str!("../dashboards/README.md");

/// Each row with the titles of its panels.
fn rows() -> Vec<(String, Vec<Value>)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut rows = Vec::new();
    let mut last = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        let at = panel["gridPos"]["y"].as_u64().unwrap();
        assert!(at >= last, "panels stand in the order of the file");
        last = at;
        if panel["type"] == "row" {
            rows.push((title(panel), Vec::new()));
        } else {
            rows.last_mut().expect("a row first").1.push(panel.clone());
        }
    }
    rows
}

fn title(panel: &Value) -> String {
    panel["title"].as_str().unwrap().to_owned()
}

#[test]
fn rows_are_in_the_order_of_an_incident() {
    let order = [
        "refused",
        "Queue",
        "at its limit",
        "churning",
        "DNS",
        "Latency by phase",
    ];
    for (row, word) in rows().iter().zip(order) {
        assert!(row.0.contains(word), "{word} is not where {} is", row.0);
    }
}

#[test]
fn the_dashboards_first_row_shows_saturation() {
    let (_, panels) = &rows()[0];
    let asked = |panel: &Value| panel["targets"][0]["expr"].as_str().unwrap().to_owned();
    for (panel, metric) in [
        ("Refused /s", "http_client_queue_rejections_total"),
        ("Waiting now", "http_client_queued_requests_peak"),
        ("Fullest pool", "http_client_requests_limit"),
    ] {
        let found = panels.iter().find(|one| title(one) == panel);
        assert!(asked(found.expect(panel)).contains(metric), "{panel}");
    }
    let table = panels.iter().find(|panel| panel["type"] == "table");
    let query = asked(table.expect("origins by their share"));
    assert!(query.starts_with("topk(10, max by (server_address, server_port)"));
    assert!(query.contains("http_client_requests_limit"), "{query}");
}

#[test]
fn the_readme_shows_every_row_and_panel() {
    let mut shown = README;
    for (row, panels) in rows() {
        for name in std::iter::once(row).chain(panels.iter().map(title)) {
            let at = shown.find(&name);
            let at = at.unwrap_or_else(|| panic!("{name} is not in its place"));
            shown = &shown[at + name.len()..];
        }
    }
    for rule in include_str!("../dashboards/alerts.yml").lines() {
        if let Some(name) = rule.trim().strip_prefix("- alert: ") {
            assert!(README.contains(name), "{name}");
        }
    }
}
