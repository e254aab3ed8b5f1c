//! The picture: queue, latency and connections of each act over time, as SVG.

use std::fmt::Write;

use crate::act::{Act, Row};
use crate::load::{SAMPLE, Sample};

const CHART: (f64, f64) = (270.0, 120.0);
const GAP: f64 = 50.0;
const ACT: f64 = 210.0;

/// By the start of a client's name, the longest first.
const COLORS: [(&str, &str); 7] = [
    ("connection per request", "#888888"),
    ("hyper-util", "#d9822b"),
    ("reqwest +", "#d1435b"),
    ("reqwest", "#a855c7"),
    ("Tollgate, cap 256", "#2f7fd1"),
    ("Tollgate, and", "#2f7fd1"),
    ("Tollgate", "#1fa35c"),
];

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:14px}\
.s{fill:#777;font-size:10px}.a{stroke:#bbb;fill:none}.l{fill:none;stroke-width:1.5}\
.b{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#999}.a{stroke:#555}.b{fill:#111}}";

/// The title of a chart, and the number that it draws.
type Chart = (&'static str, fn(&Sample) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "a point of a plot is not exact")]
const CHARTS: [Chart; 3] = [
    ("calls that wait", |sample| Some(sample.waiting as f64)),
    ("latency of good answers, ms", |sample| {
        sample.mean_micros.map(|micros| micros as f64 / 1e3)
    }),
    ("connections open", |sample| Some(sample.connections as f64)),
];

pub(crate) fn svg(acts: &[(&Act, Vec<Row>)]) -> String {
    let width = 3.0 * (CHART.0 + GAP) + GAP;
    #[expect(clippy::cast_precision_loss, reason = "there are four acts")]
    let height = acts.len() as f64 * ACT + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\"><style>{STYLE}</style><rect class=\"b\" width=\"100%\" height=\"100%\"/>\n"
    );
    let mut top = 0.0;
    for (act, rows) in acts {
        draw(&mut svg, act, rows, top);
        top += ACT;
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, act: &Act, rows: &[Row], top: f64) {
    text(svg, "t", GAP, top + 22.0, act.title);
    let mut left = GAP;
    for (row, color) in rows.iter().map(|row| (row, color(row.client))) {
        add(
            svg,
            format_args!(
                "<rect x=\"{left}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{color}\"/>\n",
                top + 31.0
            ),
        );
        text(svg, "", left + 14.0, top + 40.0, row.client);
        #[expect(clippy::cast_precision_loss, reason = "names are short")]
        let advance = 34.0 + 6.4 * row.client.len() as f64;
        left += advance;
    }
    let mut left = GAP;
    for (title, number) in CHARTS {
        chart(svg, (left, top + 66.0), title, rows, number);
        left += CHART.0 + GAP;
    }
}

fn color(client: &str) -> &'static str {
    let mut known = COLORS.into_iter();
    let found = known.find(|(name, _)| client.starts_with(name));
    found.map_or("#000000", |(_, color)| color)
}

fn chart(
    svg: &mut String,
    (left, top): (f64, f64),
    title: &str,
    rows: &[Row],
    number: fn(&Sample) -> Option<f64>,
) {
    let all = rows.iter().flat_map(|row| row.tally.series.iter());
    let most = all.filter_map(number).fold(1.0, f64::max);
    let samples = rows.iter().map(|row| row.tally.series.len()).max();
    #[expect(clippy::cast_precision_loss, reason = "samples are few")]
    let samples = samples.unwrap_or(0).max(2) as f64 - 1.0;
    let (right, bottom) = (left + CHART.0, top + CHART.1);
    text(svg, "s", left, top - 5.0, title);
    text(svg, "s", left - 30.0, top + 8.0, &format!("{most:.0}"));
    text(svg, "s", left - 10.0, bottom, "0");
    let seconds = samples * SAMPLE.as_secs_f64();
    text(
        svg,
        "s",
        right - 24.0,
        bottom + 13.0,
        &format!("{seconds:.1} s"),
    );
    add(
        svg,
        format_args!("<path class=\"a\" d=\"M{left} {top}V{bottom}H{right}\"/>\n"),
    );
    for (row, color) in rows.iter().map(|row| (row, color(row.client))) {
        let mut path = String::new();
        let mut pen_up = true;
        for (nth, sample) in row.tally.series.iter().enumerate() {
            // A gap where there was no good answer.
            let Some(value) = number(sample) else {
                pen_up = true;
                continue;
            };
            #[expect(clippy::cast_precision_loss, reason = "samples are few")]
            let x = left + nth as f64 / samples * CHART.0;
            let y = bottom - value / most * CHART.1;
            let to = if pen_up { 'M' } else { 'L' };
            add(&mut path, format_args!("{to}{x:.1} {y:.1}"));
            pen_up = false;
        }
        add(
            svg,
            format_args!("<path class=\"l\" stroke=\"{color}\" d=\"{path}\"/>\n"),
        );
    }
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, text: &str) {
    add(
        svg,
        format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>\n"),
    );
}

fn add(to: &mut String, text: std::fmt::Arguments<'_>) {
    to.write_fmt(text).expect("a string takes all text");
}

#[cfg(test)]
mod tests {
    use crate::load::Tally;
    use crate::play::ACTS;
    use crate::upstream::Counts;

    use super::*;

    #[test]
    fn a_line_is_broken_where_no_answer_came() {
        let sample = |mean_micros| Sample {
            waiting: 3,
            mean_micros,
            connections: 64,
        };
        let series = [Some(5_000), None, Some(5_000)].map(sample).to_vec();
        let tally = Tally {
            series,
            ..Tally::default()
        };
        let row = Row {
            client: "a",
            tally,
            counts: Counts::default(),
            time_wait: None,
        };
        let svg = svg(&[(&ACTS[0], vec![row])]);
        let paths = svg.lines().filter(|line| line.contains("class=\"l\""));
        let strokes: Vec<_> = paths.map(|line| line.matches('M').count()).collect();
        assert_eq!(strokes, [1, 2, 1]);
        assert!(!svg.contains("NaN"));
    }
}
