//! Text in eighty columns.

use crate::act::{Act, Column, Row};

pub(crate) const WIDTH: usize = 80;

/// The width of the first column.
const NAME: usize = 28;

/// The title of an act, its story and the head of its table.
pub(crate) fn head(act: &Act) -> String {
    let heads = act
        .columns
        .iter()
        .map(|column| cell(*column, column.head()));
    let heads: String = heads.collect();
    format!(
        "{}\n{}\n\n{:NAME$}{heads}",
        act.title,
        wrapped(act.story),
        "client"
    )
}

pub(crate) fn row(act: &Act, row: &Row) -> String {
    let cells = act.columns.iter();
    let cells: String = cells
        .map(|column| cell(*column, &row.cell(*column)))
        .collect();
    format!("{:NAME$}{cells}", row.client)
}

fn cell(column: Column, text: &str) -> String {
    let width = match column {
        Column::Good => 7,
        Column::TimeWait => 10,
        _ => 8,
    };
    format!("{text:>width$}")
}

/// Broken between words, so that no line is wider than the page.
pub(crate) fn wrapped(text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + 8);
    let mut column = 0;
    for word in text.split(' ') {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > WIDTH {
            lines.push('\n');
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += len;
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::load::Tally;
    use crate::play::ACTS;
    use crate::upstream::Counts;

    use super::*;

    fn full(client: &'static str) -> Row {
        let tally = Tally {
            elapsed: Duration::from_secs(1),
            latencies: vec![9_999_000; 99_999],
            ..Tally::default()
        };
        let counts = Counts {
            accepted: 999_999,
            worked: 199_999,
            ..Counts::default()
        };
        Row {
            client,
            tally,
            counts,
            time_wait: Some(28_232),
        }
    }

    #[test]
    fn printed_lines_fit_eighty_columns() {
        for act in &ACTS {
            let rows: Vec<_> = act
                .clients
                .iter()
                .map(|_| full("connection per request"))
                .collect();
            let mut lines = vec![head(act), wrapped(&(act.seen)(&rows))];
            lines.extend(rows.iter().map(|one| row(act, one)));
            for line in lines.iter().flat_map(|text| text.lines()) {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
            assert!((act.seen)(&rows).starts_with("Seen: "), "{}", act.title);
        }
    }

    #[test]
    fn all_acts_together_take_less_than_forty_seconds() {
        let lasts: Duration = ACTS.iter().map(Act::lasts).sum();
        assert!(lasts < Duration::from_secs(38), "{lasts:?}");
    }

    #[test]
    fn errors_and_good_answers_come_first() {
        for act in &ACTS {
            assert_eq!(
                act.columns[..2],
                [Column::Errors, Column::Good],
                "{}",
                act.title
            );
        }
    }
}
