//! The table of what was seen.

use std::panic;
use std::thread;

use crate::play::{self, Seen};
use crate::script::Case;

/// Plays all cases at once, prints the table, and asserts that ours is right in each row.
pub(crate) fn check(title: &str, cases: &[Case]) {
    let rows: Vec<_> = thread::scope(|scope| {
        let plays: Vec<_> = cases
            .iter()
            .map(|case| scope.spawn(|| play::both(case)))
            .collect();
        let joined = plays.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|seen| seen.unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
            .collect()
    });
    println!("\n| {title} | right (RFC) | ours | hyper-util |\n|---|---|---|---|");
    let mut wrong = Vec::new();
    for (case, (ours, theirs)) in cases.iter().zip(&rows) {
        let right = (case.right)(ours);
        let theirs = theirs
            .as_ref()
            .map_or_else(|| "not played".to_owned(), |seen| cell(case, seen));
        println!(
            "| {} | {} ({}) | {} | {theirs} |",
            case.name,
            case.behaviour,
            case.rfc,
            cell(case, ours)
        );
        if !right {
            wrong.push(format!("{}: {}", case.name, details(ours)));
        }
    }
    assert!(
        wrong.is_empty(),
        "wrong in {} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn cell(case: &Case, seen: &Seen) -> String {
    let verdict = if (case.right)(seen) { "right" } else { "WRONG" };
    let connections = seen.connections();
    format!(
        "{verdict}: {}; {connections} conn.",
        seen.answers().join(", ")
    )
}

fn details(seen: &Seen) -> String {
    let received = (0..seen.connections()).map(|at| seen.text(at));
    let received: Vec<_> = received
        .map(|text| text.chars().take(400).collect::<String>())
        .collect();
    format!(
        "{:?}, {:#?}, {} open, received {received:#?}",
        seen.answers(),
        seen.texts(),
        seen.open
    )
}
