//! What a run came to, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tollgate_core::Table;

use crate::cli::Contender;
use crate::site::Counts;
use crate::tally::Tally;

/// All runs, in the order in which they were made.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) runs: Vec<Run>,
}

/// One client's run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) client: &'static str,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    errors_by_kind: BTreeMap<String, u64>,
    /// Answered requests a second.
    rps: f64,
    p50_us: u32,
    p99_us: u32,
    max_us: u32,
    opened: u64,
    peak_open: u64,
    /// `null` where the system does not tell.
    time_wait: Option<usize>,
    dns_queries: u64,
    max_queue_wait_us: u128,
    #[serde(skip)]
    queues: bool,
}

impl Run {
    pub(crate) fn new(client: Contender, tally: &Tally, counts: Counts) -> Self {
        let answered = tally.latencies.len();
        let errors = tally.failed();
        Self {
            client: client.label(),
            requests: answered as u64 + errors,
            errors,
            errors_by_kind: tally.errors.clone(),
            rps: rate(answered, tally.elapsed),
            p50_us: tally.quantile(0.5),
            p99_us: tally.quantile(0.99),
            max_us: tally.quantile(1.0),
            opened: counts.opened,
            peak_open: counts.peak_open,
            time_wait: counts.time_wait,
            dns_queries: counts.dns_queries,
            max_queue_wait_us: tally.longest_wait.as_micros(),
            queues: client == Contender::Tollgate,
        }
    }

    fn cells(&self) -> [String; 12] {
        let wait = Duration::from_micros(self.max_queue_wait_us.try_into().unwrap_or(u64::MAX));
        [
            self.client.to_owned(),
            self.requests.to_string(),
            self.errors(),
            format!("{:.0}", self.rps),
            time(Duration::from_micros(self.p50_us.into())),
            time(Duration::from_micros(self.p99_us.into())),
            time(Duration::from_micros(self.max_us.into())),
            self.opened.to_string(),
            self.peak_open.to_string(),
            self.time_wait
                .map_or_else(|| "?".to_owned(), |n| n.to_string()),
            self.dns_queries.to_string(),
            if self.queues {
                time(wait)
            } else {
                "no queue".to_owned()
            },
        ]
    }

    fn errors(&self) -> String {
        if self.errors == 0 {
            return "0".to_owned();
        }
        let kinds = self.errors_by_kind.iter();
        let kinds: Vec<_> = kinds.map(|(kind, n)| format!("{n} {kind}")).collect();
        kinds.join(", ")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&[
            "client",
            "requests",
            "errors",
            "req/s",
            "p50",
            "p99",
            "max",
            "opened",
            "peak open",
            "TIME_WAIT",
            "DNS",
            "longest wait",
        ]);
        for run in &self.runs {
            table.push(run.cells());
        }
        table.fmt(f)
    }
}

fn rate(count: usize, elapsed: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
    let rate = count as f64 / elapsed.as_secs_f64().max(1e-6);
    (rate * 10.0).round() / 10.0
}

fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.0} us", s * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(client: Contender) -> Run {
        let tally = Tally {
            elapsed: Duration::from_secs(2),
            latencies: vec![900, 1_500, 2_500_000],
            errors: BTreeMap::from([("refused".to_owned(), 2), ("timeout".to_owned(), 1)]),
            longest_wait: Duration::from_millis(37),
        };
        let counts = Counts {
            opened: 64,
            peak_open: 60,
            dns_queries: 2,
            time_wait: Some(4),
        };
        Run::new(client, &tally, counts)
    }

    #[test]
    fn json_report_has_stable_names_and_numbers() {
        let runs = vec![run(Contender::Tollgate)];
        let json = serde_json::to_value(Report { runs }).unwrap();
        let expected = serde_json::json!({ "runs": [{
            "client": "tollgate", "requests": 6, "errors": 3,
            "errors_by_kind": { "refused": 2, "timeout": 1 },
            "rps": 1.5, "p50_us": 1_500, "p99_us": 2_500_000, "max_us": 2_500_000,
            "opened": 64, "peak_open": 60, "time_wait": 4, "dns_queries": 2,
            "max_queue_wait_us": 37_000,
        }]});
        assert_eq!(json, expected);
    }

    #[test]
    fn the_table_is_for_people() {
        let runs = vec![run(Contender::Tollgate), run(Contender::HyperUtilLegacy)];
        let table = Report { runs }.to_string();
        assert!(table.contains("2 refused, 1 timeout"), "{table}");
        assert!(
            table.contains("37.0 ms") && table.contains("no queue"),
            "{table}"
        );
        assert_eq!(table.lines().count(), 3);
    }

    #[test]
    fn times_have_the_unit_that_makes_them_short() {
        let times = [312, 4_970, 1_200_000].map(|us| time(Duration::from_micros(us)));
        assert_eq!(times, ["312 us", "5.0 ms", "1.20 s"]);
    }
}
