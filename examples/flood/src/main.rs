//! Three upstreams as they are, and the price: the README's first command.
//!
//! ```text
//! cargo run --release -p flood
//! cargo run --release -p flood -- --plot flood.svg
//! cargo run --release -p flood -- --act 2
//! ```
//!
//! Each act sends one load through several clients in turn, each to a fresh upstream on loopback,
//! and ends with one sentence of what was seen. Connections are counted by the upstream, sockets in
//! TIME_WAIT by the kernel, good answers and errors by the callers.

mod act;
mod args;
mod client;
mod load;
mod page;
mod play;
mod plot;
mod ports;
mod progress;
#[path = "../../load/time_wait.rs"]
mod time_wait;
mod upstream;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::act::{Act, Row};
use crate::args::Args;
use crate::play::ACTS;
use crate::progress::Progress;

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match flood().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is no other place to report it.
            writeln!(io::stderr(), "flood: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn flood() -> Result<(), BoxError> {
    let args = Args::parse(lexopt::Parser::from_env(), ACTS.len())?;
    if args.help {
        writeln!(io::stdout(), "{}", args::HELP)?;
        return Ok(());
    }
    raise_open_files();
    let acts = ACTS.iter().enumerate();
    let acts: Vec<&Act> = acts
        .filter_map(|(nth, act)| args.includes(nth + 1).then_some(act))
        .collect();
    let progress = Progress::new(acts.iter().map(|act| act.lasts()).sum());
    let mut played = Vec::new();
    for act in acts {
        played.push((act, play(act, &progress).await?));
    }
    progress.finish();
    if let Some(path) = args.plot {
        std::fs::write(&path, plot::svg(&played))?;
        progress.print(&format!("Drawn: {}", path.display()))?;
    }
    Ok(())
}

async fn play(act: &Act, progress: &Progress) -> Result<Vec<Row>, BoxError> {
    progress.print(&page::head(act))?;
    let mut rows = Vec::new();
    for client in act.clients {
        let row = progress.during(act, act.run(*client)).await?;
        progress.print(&page::row(act, &row))?;
        rows.push(row);
    }
    let seen = page::wrapped(&(act.seen)(&rows));
    progress.print(&format!("\n{seen}\n"))?;
    Ok(rows)
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
