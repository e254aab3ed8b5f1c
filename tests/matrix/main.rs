//! Every layer in every place where a user would put it: a file a column, a test a cell.
//!
//! | | [`legacy`] | [`reqwest`] | [`tonic`] | [`axum`] | [`plain`] |
//! |---|---|---|---|---|---|
//! | pool-limit | yes | yes | yes | yes | yes |
//! | keep-alive | owns its pool | owns its pool | in a channel's place | yes | yes |
//! | cached-dns | yes | yes | yes | yes | yes |
//! | connect-timeout | yes | yes | yes | yes | yes |
//! | queue-metrics | yes | yes | yes | yes | yes |
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod axum;
mod legacy;
mod plain;
mod reqwest;
mod support;
mod tonic;

const LAYERS: [&str; 5] = [
    "pool_limit",
    "keep_alive",
    "cached_dns",
    "connect_timeout",
    "queue_metrics",
];

struct Column {
    name: &'static str,
    source: &'static str,
    owns_its_pool: bool,
}

const COLUMNS: [Column; 5] = [
    Column {
        name: "legacy",
        source: include_str!("legacy.rs"),
        owns_its_pool: true,
    },
    Column {
        name: "reqwest",
        source: include_str!("reqwest.rs"),
        owns_its_pool: true,
    },
    Column {
        name: "tonic",
        source: include_str!("tonic.rs"),
        owns_its_pool: false,
    },
    Column {
        name: "axum",
        source: include_str!("axum.rs"),
        owns_its_pool: false,
    },
    Column {
        name: "plain",
        source: include_str!("plain.rs"),
        owns_its_pool: false,
    },
];

impl Column {
    /// The functions that stand directly below a test's attribute.
    fn tests(&self) -> Vec<&str> {
        let mut lines = self.source.lines().peekable();
        let mut names = Vec::new();
        while let Some(line) = lines.next() {
            let is_test = line.starts_with("#[tokio::test") || line.starts_with("#[test]");
            let name = lines.peek().and_then(|next| {
                let next = next.strip_prefix("async ").unwrap_or(next);
                next.strip_prefix("fn ")?.split('(').next()
            });
            if let (true, Some(name)) = (is_test, name) {
                names.push(name);
            }
        }
        names
    }
}

#[test]
fn every_matrix_cell_has_exactly_one_test() {
    for column in COLUMNS {
        let tests = column.tests();
        for layer in LAYERS {
            let cells = tests.iter().filter(|name| name.starts_with(layer)).count();
            let wanted = usize::from(!(column.owns_its_pool && layer == "keep_alive"));
            assert_eq!(cells, wanted, "{layer} under {}: {tests:?}", column.name);
        }
        assert_eq!(
            column.source.contains("//! No keep-alive here:"),
            column.owns_its_pool,
            "{} says at its head why a cell is empty",
            column.name
        );
    }
}
