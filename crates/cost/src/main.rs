//! What a request on an idle connection costs: instructions and allocations beside bare hyper.
//!
//! `cargo run --release -p tollgate-cost` prints the table and fails if a gate is missed. It needs
//! valgrind for the instructions, which callgrind counts and which repeat from run to run; times do
//! not, so there are none.
//!
//! A snapshot of a client is counted too, for each of its origins, and what many origins cost: to open
//! them, and each event on one of them beside the others.
//!
//! Every client runs beside one idle timer, as every service has some: a runtime that has a timer
//! looks at the clock whenever it sleeps, and that is no cost of the second one.

mod clients;
mod count;
mod h1;
mod h2;
mod origins;
mod snapshot;

use std::io::Write;
use std::process::ExitCode;

use crate::count::{Server, allocations, instructions};

/// A client, and what it may cost at most: instructions as a multiple of bare hyper's, and
/// allocations more than bare hyper's.
struct Row(&'static str, Option<(f64, f64)>);

/// With a hundredth of room: what the compiler makes of the bare client differs by as much from build to build.
const ROWS: [Row; 6] = [
    Row("bare", None),
    // With the safety that a hit has: its runtime and its limits are asked, its request is checked and
    // handed over under a lock, and its use is learnt.
    Row("origin", Some((1.17, 0.0))),
    Row("pool", Some((1.21, 0.0))),
    Row("client", Some((1.30, 0.0))),
    Row("legacy", None),
    Row("reqwest", None),
];

/// The same over HTTP/2: one request at a time on one connection. The promise is 1.20 times and 6
/// allocations.
const STREAM_ROWS: [Row; 4] = [
    Row("h2 bare", None),
    Row("h2 origin", Some((1.20, 6.0))),
    Row("h2 pool", Some((1.20, 6.0))),
    Row("h2 legacy", None),
];

/// The pool, driven in one and the same way, first without an observer: what it may cost at most as
/// a multiple of that, with no allocation more. The promise of `tollgate-queue-metrics`.
const OBSERVED: [(&str, f64); 3] = [
    ("pool+nothing", 1.0),
    ("pool+metrics", 1.02),
    ("pool+metrics+recorder", 1.06),
];

/// The most that a snapshot of a client may cost for each of its origins, in instructions: with a
/// thousand of them, once a second, that is a thousandth of a processor.
const SNAPSHOT: f64 = 3_000.0;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("serve") => h1::serve(),
        Some("serve-h2") => h2::serve(),
        Some("run") => clients::run(
            &args[2],
            &args[3],
            args[4].parse().expect("a number of requests"),
        ),
        _ => return gate(),
    }
    ExitCode::SUCCESS
}

fn gate() -> ExitCode {
    let mut missed = false;
    writeln!(
        std::io::stdout(),
        "{:21} {:>12} {:>8} {:>8}",
        "client",
        "instructions",
        "x bare",
        "allocs"
    )
    .ok();
    let mut server = Server::start("serve");
    missed |= !beside_bare(&ROWS, &server.addr);
    let mut unobserved = None;
    for (client, times) in OBSERVED {
        missed |= !observed(client, times, &mut unobserved, &server.addr);
    }
    missed |= !snapshots(&server.addr);
    missed |= !origins::gate(&server.addr);
    server.stop();
    let mut server = Server::start("serve-h2");
    missed |= !beside_bare(&STREAM_ROWS, &server.addr);
    server.stop();
    if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Prints what each client costs beside the first; `false` if one costs too much.
fn beside_bare(rows: &[Row], addr: &str) -> bool {
    let mut out = std::io::stdout();
    let mut bare = None;
    let mut held = true;
    for Row(client, limits) in rows {
        let allocations = allocations(client, addr);
        let instructions = instructions(client, addr);
        let bare = *bare.get_or_insert((instructions, allocations));
        let ratio = instructions / bare.0;
        let more = allocations - bare.1;
        let ok = limits.is_none_or(|(times, extra)| ratio <= times && more <= extra + 0.05);
        held &= ok;
        let verdict = if ok { "" } else { "  MISSED" };
        writeln!(
            out,
            "{client:21} {instructions:>12.0} {ratio:>8.3} {allocations:>8.2}{verdict}"
        )
        .ok();
    }
    held
}

/// Prints what an observed pool costs, beside the first one, which is not; `false` if that is too
/// much.
fn observed(client: &str, times: f64, first: &mut Option<(f64, f64)>, addr: &str) -> bool {
    let allocations = allocations(client, addr);
    // The lower of two: when the exporter gives memory back is a matter of chance.
    let instructions = instructions(client, addr).min(instructions(client, addr));
    let (instructions_before, allocations_before) =
        *first.get_or_insert((instructions, allocations));
    let ratio = instructions / instructions_before;
    let ok = ratio <= times && allocations - allocations_before < 0.05;
    let verdict = if ok { "" } else { "  MISSED" };
    writeln!(
        std::io::stdout(),
        "{client:21} {instructions:>12.0} {ratio:>8.3} {allocations:>8.2}  x unobserved{verdict}"
    )
    .ok();
    ok
}

/// Prints what a snapshot costs for each origin; `false` if that is too much.
fn snapshots(addr: &str) -> bool {
    let cost = 10.0 * instructions("snapshot", addr) / f64::from(snapshot::ORIGINS);
    let ok = cost <= SNAPSHOT;
    let verdict = if ok { "" } else { "  MISSED" };
    writeln!(
        std::io::stdout(),
        "{:21} {cost:>12.0} an origin{verdict}",
        "snapshot"
    )
    .ok();
    ok
}
