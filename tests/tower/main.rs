//! Every layer of requests or connections below and above each of tower's layers that act on readiness:
//! a file a layer of tower's, two tests a layer of ours. Not the resolver's cache: it is always ready,
//! and its names are looked up by diallers, not through a balancer or a buffer.
//!
//! "Below a buffer" is `Buffer::new(ours, 8)`; "above a buffer" is our layer over a `Buffer`.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod balance;
mod buffer;
mod load_shed;
mod support;

/// The functions that stand below a test's attribute and begin with this.
fn cells(source: &str, start: &str) -> usize {
    let start = format!("async fn {start}");
    let tests = source.split("#[tokio::test");
    let first_function = |test: &str| test.find("async fn ").map(|at| test[at..].to_owned());
    tests
        .skip(1)
        .filter_map(first_function)
        .filter(|function| function.starts_with(&start))
        .count()
}

#[test]
fn every_cell_has_exactly_one_test() {
    for (name, source) in [
        ("balance", include_str!("balance.rs")),
        ("buffer", include_str!("buffer.rs")),
        ("load_shed", include_str!("load_shed.rs")),
    ] {
        for layer in [
            "pool_limit",
            "queue_metrics",
            "connect_timeout",
            "keep_alive",
        ] {
            for side in ["below", "above"] {
                let start = format!("{layer}_{side}_");
                assert_eq!(cells(source, &start), 1, "{start} in {name}");
            }
        }
    }
}
