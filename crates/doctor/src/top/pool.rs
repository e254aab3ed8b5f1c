//! A frame of a pool: origins by the share of their limit that is in use.

use std::time::Duration;

use crate::doctor::{percent, time};
use crate::stats::{OriginStats, SocketRow, Stats};
use crate::top::table;

/// More rows than this do not fit on a screen.
const MAX_ROWS: usize = 40;

/// Cells of the bar.
const BAR: u32 = 10;

const ORIGINS: [&str; 11] = [
    "origin", "use", "of limit", "open", "active", "idle", "dialling", "queued", "wait", "req/s",
    "refused",
];

const SOCKETS: [&str; 6] = [
    "address",
    "established",
    "time_wait",
    "close_wait",
    "other",
    "ports left",
];

pub(super) fn frame(url: &str, now: &Stats, before: Option<(Duration, &Stats)>) -> String {
    let mut origins: Vec<_> = now.origins.iter().collect();
    // Of two that are full the one with the longer queue, as far as a screen goes.
    origins.sort_by(|a, b| share(b).total_cmp(&share(a)).then(b.queued.cmp(&a.queued)));
    let queued: u64 = origins.iter().map(|one| one.queued).sum();
    let count = origins.len();
    let mut lines = vec![
        format!("tollgate top  {url}  {count} origin(s), {queued} queued"),
        String::new(),
    ];
    let rows = origins.iter().take(MAX_ROWS).map(|one| row(one, before));
    lines.push(table(&ORIGINS, rows));
    if count > MAX_ROWS {
        lines.push(format!("and {} more", count - MAX_ROWS));
    }
    if !now.sockets.is_empty() {
        lines.push(String::new());
        let rows = now.sockets.iter().take(MAX_ROWS).map(socket_row);
        lines.push(table(&SOCKETS, rows));
    }
    lines.join("\n") + "\n"
}

/// The share of the limit that serves: waiting requests are beyond it.
#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn share(origin: &OriginStats) -> f64 {
    let limit = origin.limit.unwrap_or(0);
    if limit == 0 {
        return 0.0;
    }
    origin.active as f64 / limit as f64
}

fn row(origin: &OriginStats, before: Option<(Duration, &Stats)>) -> Vec<String> {
    let share = share(origin);
    let old = before.and_then(|(since, stats)| {
        let old = stats
            .origins
            .iter()
            .find(|old| old.origin == origin.origin)?;
        Some((since, old))
    });
    vec![
        origin.origin.clone(),
        format!("{} {:>5}", bar(share), percent(share)),
        origin
            .limit
            .map_or_else(|| "-".to_owned(), |limit| limit.to_string()),
        origin.open.to_string(),
        origin.active.to_string(),
        origin.idle.to_string(),
        origin.connecting.to_string(),
        origin.queued.to_string(),
        wait(origin, old.map(|(_, old)| old)),
        old.map_or_else(|| "-".to_owned(), |(since, old)| rate(origin, since, old)),
        (origin.refused + origin.timed_out + origin.failed).to_string(),
    ]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the width"
)]
fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * f64::from(BAR)).round() as usize;
    let empty = BAR as usize - full;
    format!("{}{}", "█".repeat(full), "·".repeat(empty))
}

/// The mean wait since the frame before, or since the beginning in the first.
fn wait(origin: &OriginStats, old: Option<&OriginStats>) -> String {
    let (waited, waits) = match old {
        Some(old) => (
            origin.wait_time.saturating_sub(old.wait_time),
            origin.waited.saturating_sub(old.waited),
        ),
        None => (origin.wait_time, origin.waited),
    };
    let waits = u32::try_from(waits).unwrap_or(u32::MAX);
    waited
        .checked_div(waits)
        .map_or_else(|| "-".to_owned(), time)
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(origin: &OriginStats, since: Duration, old: &OriginStats) -> String {
    let granted = origin.granted.saturating_sub(old.granted);
    format!("{:.0}", granted as f64 / since.as_secs_f64().max(1e-3))
}

fn socket_row(row: &SocketRow) -> Vec<String> {
    let of = |state: &str| row.sockets.get(state).copied().unwrap_or(0);
    let told = ["established", "time_wait", "close_wait"].map(of);
    let other = row.sockets.values().sum::<u64>() - told.iter().sum::<u64>();
    let left = row.ports.saturating_sub(row.ports_taken);
    let mut cells = vec![row.remote.clone()];
    cells.extend(told.iter().chain([&other]).map(ToString::to_string));
    cells.push(format!("{left} of {}", row.ports));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(json: &str) -> Stats {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn fullest_origin_comes_first_with_rate_and_wait() {
        let before = stats(r#"{"origins": [{"origin": "http://a", "granted": 100, "waited": 5}]}"#);
        let now = stats(
            r#"{"origins": [
                {"origin": "http://b", "open": 2, "active": 1, "limit": 4, "unknown": true},
                {"origin": "http://a", "open": 4, "active": 4, "limit": 4, "queued": 7, "granted": 150,
                 "waited": 15, "wait_time": {"secs": 0, "nanos": 20000000}}
            ], "names": []}"#,
        );
        let text = frame(
            "http://app/stats",
            &now,
            Some((Duration::from_secs(2), &before)),
        );
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("2 origin(s), 7 queued"), "{text}");
        let words: Vec<_> = lines[3].split_whitespace().collect();
        let expected = [
            "http://a",
            "██████████",
            "100",
            "%",
            "4",
            "4",
            "4",
            "0",
            "0",
            "7",
            "2.0",
            "ms",
            "25",
            "0",
        ];
        assert_eq!(words, expected, "{text}");
        assert!(lines[4].starts_with("http://b"), "{text}");
    }

    #[test]
    fn sockets_of_a_snapshot_are_a_second_table() {
        let now = stats(
            r#"{"origins": [], "sockets": [{"origin": "http://a", "remote": "10.0.0.7:80",
                "sockets": {"established": 3, "time_wait": 9, "fin_wait1": 1},
                "ports_taken": 13, "ports": 100}]}"#,
        );
        let text = frame("http://app/stats", &now, None);
        let line = text.lines().last().unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            words,
            ["10.0.0.7:80", "3", "9", "0", "1", "87", "of", "100"]
        );
    }
}
