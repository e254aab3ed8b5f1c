//! The guide names what is there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use tollgate::queue_metrics::names;
use tollgate::{CloseReason, ConnectErrorKind, ErrorKind, RefuseReason};

const FAILURES: &str = include_str!("../src/guide/failures.md");

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_metric_of_the_failures_table_is_one_and_its_label_has_that_value() {
    let mut seen = 0;
    for metric in
        code(FAILURES).filter(|text| text.starts_with("http_") || text.starts_with("dns_"))
    {
        let (name, label) = metric.split_once('{').unwrap_or((metric, ""));
        if name == "dns_max_ttl" {
            continue;
        }
        let known = names::ALL.iter().find(|known| known.name == name);
        let known = known.unwrap_or_else(|| panic!("{name} is no metric"));
        seen += 1;
        let Some((label, value)) = label.trim_end_matches('}').split_once('=') else {
            continue;
        };
        assert!(known.labels.contains(&label), "{metric}");
        let value = value.trim_matches('"');
        let closes = CloseReason::ALL.iter().map(|reason| reason.label());
        let refusals = RefuseReason::ALL.iter().map(|reason| reason.label());
        let errors = ConnectErrorKind::ALL.iter().map(|kind| kind.label());
        let mut values = closes.chain(refusals).chain(errors).chain(["tcp", "tls"]);
        assert!(values.any(|known| known == value), "{metric}");
    }
    assert!(seen > 20);
}

#[test]
fn every_error_that_load_or_the_network_makes_is_a_symptom() {
    let rows: Vec<&str> = FAILURES
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|row| row.split('|').next())
        .collect();
    for kind in ErrorKind::ALL {
        let about_the_caller = matches!(
            kind,
            ErrorKind::InvalidRequest
                | ErrorKind::Blocked
                | ErrorKind::Draining
                | ErrorKind::NoRuntime
                | ErrorKind::Connect
        );
        let named = rows
            .iter()
            .any(|row| row.contains(&format!("`{}`", kind.label())));
        assert!(named || about_the_caller, "{}", kind.label());
    }
}

#[test]
fn the_defaults_of_the_comparison_are_those_of_the_builder() {
    let comparison = include_str!("../src/guide/comparison.md");
    let docs = include_str!("../src/builder.rs");
    for (row, default) in [
        ("`max_connections_per_origin` (128)", "Default 128."),
        ("`max_connecting_per_origin` (16)", "Default 16."),
        ("`max_waiting` (1,024)", "Default 1,024."),
        ("`acquire_timeout` (3 s)", "Default 3 s."),
        ("`idle_timeout` (30 s)", "Default 30 s"),
        ("`max_lifetime` (5 min", "Default 5 min."),
        ("`connect_timeout` (5 s)", "Default 5 s."),
    ] {
        assert!(comparison.contains(row), "{row}");
        let name = row.split('`').nth(1).unwrap();
        let setter = docs.find(&format!("pub fn {name}(")).unwrap();
        let before = &docs[..setter];
        let doc = &before[before.rfind("    }\n").unwrap_or(0)..];
        assert!(doc.contains(default), "{name}: {doc}");
    }
}
