//! The page as HTML: one document, without any asset from elsewhere.

use std::fmt::{self, Write};
use std::time::Duration;

use tollgate_cached_dns::NameSnapshot;
use tollgate_core::Rounded;

use super::failures::Shown;
use super::history::Sample;
use super::row::Row;

const HEAD: &str = concat!(
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">",
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">",
    "<meta name=\"color-scheme\" content=\"light dark\">",
    "<meta http-equiv=\"refresh\" content=\"2\"><title>Connection pools</title><style>",
    include_str!("page.css"),
    "</style></head><body><h1>Connection pools</h1>\n"
);

pub(super) fn page(rows: &[Row], names: &[NameSnapshot], failures: &[Shown]) -> String {
    let mut page = String::from(HEAD);
    if rows.is_empty() {
        page.push_str("<p>No origin has connections.</p>\n");
    }
    page.push_str("<main>");
    for row in rows {
        origin(&mut page, row, is_failing(row, failures));
    }
    page.push_str("</main>\n");
    section(&mut page, "Last failures", failures.iter().map(failure));
    section(&mut page, "Names", names.iter().map(name));
    page.push_str("</body></html>\n");
    page
}

/// Returns true if a call or a dial to the origin failed a moment ago: without one that waits, an origin
/// that is down would look well.
fn is_failing(row: &Row, failures: &[Shown]) -> bool {
    const A_MOMENT: Duration = Duration::from_secs(30);
    let origin = row.stats.origin.to_string();
    let mut failures = failures.iter();
    failures.any(|shown| shown.ago < A_MOMENT && shown.place == origin)
}

fn class(row: &Row, failing: bool) -> &'static str {
    if row.stats.queued > 0 || failing {
        "bad"
    } else if row.share >= 0.8 {
        "full"
    } else {
        "good"
    }
}

fn origin(page: &mut String, row: &Row, failing: bool) {
    let stats = &row.stats;
    let class = class(row, failing);
    let limit = stats.limit.unwrap_or(0);
    let used = stats.active + stats.draining;
    // Connections that drain live beside their replacements, so it may be more than all.
    let percent = (row.share * 100.0).min(100.0);
    let oldest = row.oldest_exchange.map_or_else(|| "-".to_owned(), time);
    add(
        page,
        format_args!(
            "<article class=\"{class}\"><h2>{}{}</h2><div class=\"bar\" title=\"in use of the limit\">\
         <i style=\"width:{percent:.0}%\"></i><b>{used} of {limit} in use</b></div><dl>",
            Escaped(&stats.origin.to_string()),
            if row.long_lived {
                " <small>long-lived</small>"
            } else {
                ""
            },
        ),
    );
    for (title, value) in [
        ("waiting", stats.queued.to_string()),
        ("mean wait", time(row.mean_wait)),
        ("idle", stats.idle.to_string()),
        ("connecting", stats.connecting.to_string()),
        ("oldest exchange", oldest),
        ("refused", (stats.refused + stats.timed_out).to_string()),
        ("failed dials", stats.connect_failures.to_string()),
        (
            "opened / reused",
            format!("{} / {}", stats.opened, stats.reused),
        ),
    ] {
        add(
            page,
            format_args!("<div><dt>{title}</dt><dd>{value}</dd></div>"),
        );
    }
    page.push_str("</dl><div class=\"lines\">");
    sparkline(page, "in flight", &row.history, |sample| sample.in_flight);
    sparkline(page, "waiting", &row.history, |sample| sample.queued);
    page.push_str("</div><p>");
    for (reason, count) in &stats.closed_by {
        add(
            page,
            format_args!("<span>{} closed: {count}</span> ", reason.label()),
        );
    }
    for (address, count) in &row.addresses {
        add(page, format_args!("<span>{address}: {count}</span> "));
    }
    page.push_str("</p></article>\n");
}

/// The last minutes as a line, up to its highest point.
fn sparkline(page: &mut String, title: &str, history: &[Sample], of: fn(&Sample) -> usize) {
    let most = history.iter().map(of).max().unwrap_or(0);
    add(
        page,
        format_args!(
            "<figure><figcaption>{title}, 3 min, up to {most}</figcaption>\
         <svg viewBox=\"0 0 90 20\" preserveAspectRatio=\"none\"><polyline points=\""
        ),
    );
    for (x, sample) in history.iter().enumerate() {
        // Of a quiet origin a line along the bottom, not a division by zero.
        #[expect(clippy::cast_precision_loss, reason = "a point of a plot is not exact")]
        let y = 19.0 - 18.0 * of(sample) as f64 / most.max(1) as f64;
        add(page, format_args!("{x},{y:.1} "));
    }
    page.push_str("\"/></svg></figure>");
}

fn section(page: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: String = lines.collect();
    if !lines.is_empty() {
        add(page, format_args!("<h2>{title}</h2><ul>{lines}</ul>\n"));
    }
}

fn failure(shown: &Shown) -> String {
    let Shown {
        ago,
        place,
        text,
        times,
    } = shown;
    format!(
        "<li><b>{}</b> {} <small>{} ago{}</small></li>",
        Escaped(place),
        Escaped(text),
        time(*ago),
        if *times > 1 {
            format!(", {times} in a row")
        } else {
            String::new()
        },
    )
}

fn name(name: &NameSnapshot) -> String {
    format!(
        "<li><b>{}</b> {} addresses, {} <small>age {} of {}, {} hits, {} failures</small></li>",
        Escaped(&name.name),
        name.addrs.len(),
        Escaped(&format!("{:?}", name.state).to_lowercase()),
        time(name.age),
        time(name.ttl),
        name.hits,
        name.failures,
    )
}

fn time(time: Duration) -> String {
    Rounded(time).to_string()
}

fn add(page: &mut String, text: fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes all text");
}

/// Text that cannot be taken for markup.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // The single quote passes: no attribute of the page is written with it.
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_cannot_bring_markup_into_the_page() {
        let shown = Shown {
            ago: Duration::from_secs(3),
            place: "http://a".to_owned(),
            text: "<script>alert(\"1\")</script> & more".to_owned(),
            times: 2,
        };
        let page = page(&[], &[], &[shown]);
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&lt;script&gt;") && page.contains("2 in a row"));
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        let page = page(&[], &[], &[]);
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
