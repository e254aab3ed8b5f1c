//! The guide names what is there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[cfg(feature = "webpki-roots")]
#[expect(dead_code, reason = "it has to compile")]
#[path = "support/migrated.rs"]
mod migrated;

use tollgate::queue_metrics::names;
use tollgate::{CloseReason, ConnectErrorKind, ErrorKind, ExchangeEnd, RefuseReason};

const FAILURES: &str = include_str!("../src/guide/failures.md");
const COMPARISON: &str = include_str!("../src/guide/comparison.md");
const MIGRATION: &str = include_str!("../src/guide/migration.md");

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_failures_table_names_real_metrics_and_labels() {
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
        let ends = ExchangeEnd::ALL.iter().map(|end| end.label());
        let labels = closes.chain(refusals).chain(errors).chain(ends);
        let mut values = labels.chain(["tcp", "tls"]);
        assert!(values.any(|known| known == value), "{metric}");
    }
    assert!(seen > 20);
}

#[test]
fn every_operational_error_is_a_guide_symptom() {
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
                | ErrorKind::BodyTooLarge
                | ErrorKind::Decode
                | ErrorKind::Closed
                | ErrorKind::NoRuntime
                | ErrorKind::Connect
        );
        let named = rows
            .iter()
            .any(|row| row.contains(&format!("`{}`", kind.label())));
        assert!(named || about_the_caller, "{}", kind.label());
    }
}

/// Each row of the comparison has the default that stands in the docs of its option: behind the `end` of
/// what is before it, and before its declaration, whose name follows `declared`.
fn compare_defaults(docs: &str, end: &str, declared: &str, rows: &[(&str, &str)]) {
    for (row, default) in rows {
        assert!(COMPARISON.contains(row), "{row}");
        let name = row.split('`').nth(1).unwrap();
        let setter = docs.find(&format!("{declared}{name}(")).unwrap();
        let before = &docs[..setter];
        let doc = &before[before.rfind(end).unwrap_or(0)..];
        assert!(doc.contains(default), "{name}: {doc}");
    }
}

#[test]
fn comparison_defaults_match_the_builders_docs() {
    // The declaration, from which the builder's setters come.
    let docs = include_str!("../../keep-alive/src/options/origin_options.rs");
    let rows = [
        ("`max_connections_per_origin` (128)", "Default 128."),
        ("`max_connecting_per_origin` (16)", "Default 16."),
        ("`max_waiting` (1,024)", "Default 1,024."),
        ("`acquire_timeout` (3 s)", "Default 3 s."),
        ("`idle_timeout` (30 s)", "Default 30 s"),
        ("`max_lifetime` (5 min", "Default 5 min."),
        (
            "`connect_timeout` (5 s)",
            "Default: 5 s in the facade's client",
        ),
    ];
    compare_defaults(docs, ";\n", "  ", &rows);
}

#[test]
fn comparison_of_http2_defaults_matches_the_options() {
    let docs = include_str!("../../keep-alive/src/options/protocol.rs");
    let rows = [
        (
            "`max_http2_connections` of `Http2Options` (4)",
            "Default 4.",
        ),
        ("`max_streams_per_connection` (100", "Default 100."),
        ("`ping_interval` (off)", "`None`, the default"),
        ("`ping_timeout` (10 s)", "Default 10 s."),
        ("`probe_after` (5 s)", "Default 5 s."),
        ("`stream_window` (2 MiB)", "Default 2 MiB."),
        (
            "`connection_window` (all streams', 200 MiB)",
            "together 200 MiB",
        ),
        ("`max_header_list_size` (400 KiB)", "Default 400 KiB."),
    ];
    compare_defaults(docs, "}\n\n", "pub const fn ", &rows);
}

/// A snippet is copied without what rustdoc hides.
#[test]
fn guide_snippets_hide_no_import() {
    for page in [
        COMPARISON,
        FAILURES,
        MIGRATION,
        include_str!("../src/guide/dns.md"),
        include_str!("../src/guide/errors.md"),
        include_str!("../src/guide/glossary.md"),
        include_str!("../src/guide/grpc.md"),
        include_str!("../src/guide/incident.md"),
        include_str!("../src/guide/kernel.md"),
        include_str!("../src/guide/layers.md"),
        include_str!("../src/guide/numbers.md"),
        include_str!("../src/guide/testing.md"),
        include_str!("../src/guide/timeouts.md"),
    ] {
        let hidden = page.lines().find(|line| line.starts_with("# use "));
        assert_eq!(hidden, None);
    }
}

#[test]
fn migration_tables_name_options_that_compile() {
    let compiled = include_str!("support/migrated.rs");
    let (mut rows, mut calls) = (0, 0);
    for row in MIGRATION.lines().filter(|line| line.starts_with("| ")) {
        let here = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        rows += 1;
        for code in code(here) {
            // Each name that is called, as `alpn` in `tls(TlsOptions::new().alpn(Alpn::Http2))`, and each
            // option that is only named.
            let called = code.match_indices('(').map(|(at, _)| &code[..at]);
            for name in called.chain((!code.contains('(')).then_some(code)) {
                let name = name
                    .trim_end_matches("::<T>")
                    .rsplit(['.', ':', '(', ' '])
                    .next();
                let name = name.filter(|name| code.contains('(') || name.contains('_'));
                let Some(name) = name.filter(|name| !name.is_empty()) else {
                    continue;
                };
                let forms = [
                    format!(".{name}("),
                    format!("::{name}("),
                    format!(".{name}::<"),
                ];
                let is_called = forms.iter().any(|form| compiled.contains(form));
                assert!(is_called || name == "Some", "{name} in {row}");
                calls += 1;
            }
        }
    }
    assert!(rows > 60 && calls > 60, "{rows} rows, {calls} calls");
}

#[test]
fn readmes_and_crate_docs_name_every_feature() {
    let manifest = include_str!("../Cargo.toml");
    let features = manifest.split("[features]").nth(1).unwrap();
    let features = features.split("\n[").next().unwrap();
    let names = features.lines().filter_map(|line| line.split_once(" = "));
    let names: Vec<&str> = names.map(|(name, _)| name).collect();
    assert!(names.len() > 5 && names[0] == "default", "{names:?}");
    for text in [
        include_str!("../../../README.md"),
        include_str!("../README.md"),
        include_str!("../src/lib.rs"),
    ] {
        for name in &names[1..] {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}
