//! Goodput: answers that reach a caller, of those that the upstream could give, while callers give up.
//!
//! ```text
//! cargo run --release -p tollgate-examples --example goodput            # less than a minute
//! cargo run --release -p tollgate-examples --example goodput -- --long  # the loads in full, minutes
//! ```
//!
//! Each load goes through each client in turn, to a fresh upstream on loopback that works on each
//! request to its end, whether its caller is still there or not. Callers ask again as soon as they have
//! an answer or have given up. Counted are answers from the second generation of callers on, by the
//! callers, and connections, by the upstream. All of the answers possible (100 %) is what the same
//! upstream gives hyper-util when it has one caller for each worker, of whom none gives up.

mod client;
mod load;
mod upstream;

use std::io::{self, Write};
use std::time::Duration;

use tower::BoxError;

use crate::client::Kind;
use crate::load::{Load, Outcome};
use crate::upstream::Upstream;

/// Time for a client's connections to close.
const SETTLE: Duration = Duration::from_millis(50);

const fn load(name: &'static str, cap: usize, callers: usize, times: [u64; 3]) -> Load {
    Load {
        name,
        cap,
        callers,
        hold: Duration::from_millis(times[0]),
        limit: Duration::from_millis(times[1]),
        lasts: Duration::from_millis(times[2]),
        patient: 0,
        http2: false,
        step: false,
    }
}

const SIXTEEN: Load = load("16 places, 64 callers", 16, 64, [100, 350, 1_500]);
const MANY: Load = load("32 places, 400 callers", 32, 400, [50, 220, 1_200]);

const SHORT: [Load; 5] = [
    SIXTEEN,
    MANY,
    Load {
        name: "the same, HTTP/2",
        http2: true,
        ..MANY
    },
    Load {
        name: "a tenth of 400 is patient",
        patient: 40,
        ..MANY
    },
    Load {
        name: "an overload that ends",
        step: true,
        ..MANY
    },
];

const LONG: [Load; 7] = [
    load("4 places, 40 callers", 4, 40, [300, 800, 12_000]),
    load("16 places, 64 callers", 16, 64, [100, 350, 8_000]),
    load("32 places, 400 callers", 32, 400, [50, 220, 8_000]),
    load("128 places, 1,000 callers", 128, 1_000, [300, 800, 12_000]),
    Load {
        name: "32 places, 400 callers, HTTP/2",
        http2: true,
        ..load("", 32, 400, [50, 220, 8_000])
    },
    Load {
        name: "a tenth of 400 is patient",
        patient: 40,
        ..load("", 32, 400, [50, 220, 8_000])
    },
    Load {
        name: "an overload that ends",
        step: true,
        ..load("", 32, 400, [50, 220, 5_000])
    },
];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    raise_open_files();
    let long = std::env::args().any(|arg| arg == "--long");
    let loads: &[Load] = if long { &LONG } else { &SHORT };
    for load in loads {
        play(load).await?;
    }
    Ok(())
}

async fn play(load: &Load) -> Result<(), BoxError> {
    let mut out = io::stdout();
    writeln!(
        out,
        "\n{}: {} ms a request, callers give up after {} ms, {} s",
        load.name,
        load.hold.as_millis(),
        load.limit.as_millis(),
        load.lasts.as_secs_f64(),
    )?;
    let head = ["good", "connections", "patient wait", "back after"];
    writeln!(
        out,
        "  {:28}{:>8}{:>13}{:>14}{:>12}",
        "", head[0], head[1], head[2], head[3]
    )?;
    let kinds = Kind::ALL.into_iter();
    let (possible, _) = run(load.at_capacity(), Kind::Semaphore).await?;
    for kind in kinds.filter(|kind| kind.has_http2() || !load.http2) {
        let (outcome, accepted) = run(*load, kind).await?;
        let good = outcome.rate / possible.rate;
        writeln!(out, "{}", row(load, kind, good, &outcome, accepted))?;
    }
    let possible = possible.rate;
    writeln!(out, "  100 % are {possible:.0} answers a second")?;
    Ok(())
}

/// The outcome and the number of connections that the upstream took.
async fn run(load: Load, kind: Kind) -> Result<(Outcome, u64), BoxError> {
    let upstream = Upstream::start(load.cap, load.hold)?;
    let uri = format!("http://{}/", upstream.addr()).parse()?;
    let outcome = load.run(kind.client(&uri, &load)?).await;
    let accepted = upstream.accepted();
    tokio::time::sleep(SETTLE).await;
    Ok((outcome, accepted))
}

fn row(load: &Load, kind: Kind, good: f64, outcome: &Outcome, accepted: u64) -> String {
    let millis = |time: Duration| format!("{} ms", time.as_millis());
    let none = || "-".to_owned();
    let patient = if load.patient > 0 {
        millis(outcome.patient)
    } else {
        none()
    };
    let back = if load.step {
        outcome.recovered.map_or_else(|| "never".to_owned(), millis)
    } else {
        none()
    };
    format!(
        "  {:28}{:>7.0}%{accepted:>13}{patient:>14}{back:>12}",
        kind.name(),
        good * 100.0,
    )
}

/// Raises the limit on open files as far as this process may: each connection is two sockets.
fn raise_open_files() {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource::RLIMIT_NOFILE, getrlimit, setrlimit};

        if let Ok((_, hard)) = getrlimit(RLIMIT_NOFILE) {
            // If it is not allowed, the load runs all the same.
            setrlimit(RLIMIT_NOFILE, hard, hard).ok();
        }
    }
}
