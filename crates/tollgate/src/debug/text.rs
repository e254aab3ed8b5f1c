//! The page as text and as JSON.

use std::fmt::Write;

use tollgate_cached_dns::NameSnapshot;
use tollgate_core::Rounded;
use tollgate_keep_alive::OriginStats;

use super::failures::Shown;
use super::row::Row;
use crate::snapshot::Snapshot;

fn stats(rows: &[Row], long_lived: bool) -> Vec<OriginStats> {
    let rows = rows.iter().filter(|row| row.long_lived == long_lived);
    rows.map(|row| row.stats.clone()).collect()
}

pub(super) fn page(rows: &[Row], names: &[NameSnapshot], failures: &[Shown]) -> String {
    let snapshot = Snapshot {
        origins: stats(rows, false),
        long_lived: stats(rows, true),
        names: names.to_vec(),
        ..Snapshot::default()
    };
    let mut page = format!("{snapshot}\n");
    for row in rows {
        if let Some(oldest) = row.oldest_exchange {
            let origin = &row.stats.origin;
            line(
                &mut page,
                format_args!("\noldest exchange of {origin}: {}", Rounded(oldest)),
            );
        }
    }
    if !failures.is_empty() {
        page.push_str("\nlast failures\n");
    }
    for Shown {
        ago,
        place,
        text,
        times,
    } in failures
    {
        let ago = Rounded(*ago);
        line(
            &mut page,
            format_args!("{ago} ago, {times} in a row: {place}: {text}\n"),
        );
    }
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes all text");
}

pub(super) fn json(rows: &[Row], names: &[NameSnapshot], failures: &[Shown]) -> String {
    let page = serde_json::json!({ "origins": rows, "names": names, "failures": failures });
    page.to_string()
}
