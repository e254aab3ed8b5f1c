//! Sends one load through three clients in turn and shows what each does to the machine.
//!
//! ```text
//! cargo run --release --example load                # against an upstream and a DNS server of its own
//! cargo run --release --example load -- --url http://127.0.0.1:8080/   # against a server of yours
//! cargo run --release --example load -- --only tollgate --serve 127.0.0.1:9000 --seconds 600
//! #   with metrics for a Prometheus, and the pool's snapshot at /stats
//! cargo run --release --example load -- --only tollgate --fault no-such-name -n 100
//! #   with something gone wrong; --help lists what can
//! ```
//!
//! The clients are
//!
//! * `connection-per-request`: a lookup and a connection for every request, closed by the client,
//!   which is how services run out of ports;
//! * `hyper-util-legacy`: hyper-util's pooled client as it comes, without a cap on connections, a
//!   queue or a DNS cache;
//! * `tollgate`: at most `--limit` connections, a queue for everybody else, cached DNS.
//!
//! What is counted is counted outside the clients: connections and the most of them at once by the
//! upstream, queries by the DNS server. Under `--url` neither can be asked, and a guard in each
//! socket and in each lookup counts instead.

mod cli;
mod client;
mod fault;
mod legacy;
mod limits;
mod load;
mod nameserver;
mod parse;
mod reach;
mod report;
mod resolver;
mod serve;
mod site;
mod stack;
mod tally;
mod time_wait;
mod view;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Args, Contender};
use crate::client::Client;
use crate::fault::Fault;
use crate::legacy::Legacy;
use crate::load::{Load, Progress};
use crate::report::{Report, Run};
use crate::serve::Metrics;
use crate::site::Site;
use crate::stack::Stack;
use crate::view::View;

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run_all(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without stderr there is no place for the message.
            drop(writeln!(io::stderr(), "load: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run_all(args: &Args) -> Result<(), BoxError> {
    limits::raise_open_files(args.connections());
    reach::check(args).await?;
    let mut view = View::new();
    View::line(&args.headline());
    let mut runs = Vec::new();
    for contender in args.contenders() {
        runs.push(run(contender, args, &mut view).await?);
    }
    let nobody_answered = runs.iter().all(|run| run.errors >= run.requests);
    let report = Report { runs };
    let text = if args.json {
        serde_json::to_string(&report)?
    } else {
        report.to_string()
    };
    writeln!(io::stdout(), "{text}")?;
    if nobody_answered && !args.fault.is_some_and(Fault::silences) {
        return Err("no request of any client was answered".into());
    }
    Ok(())
}

async fn run(contender: Contender, args: &Args, view: &mut View) -> Result<Run, BoxError> {
    let site = Site::open(args).await?;
    match contender {
        Contender::ConnectionPerRequest => {
            let requests = limits::affordable_connections(args.requests, site.port());
            let client = Legacy::connection_per_request(&site);
            measure(contender, client, args.load(&site, requests), &site, view).await
        }
        Contender::HyperUtilLegacy => {
            let client = Legacy::as_it_comes(&site);
            measure(
                contender,
                client,
                args.load(&site, args.requests),
                &site,
                view,
            )
            .await
        }
        Contender::Tollgate => {
            let metrics = args.serve.map(|_| Metrics::install()).transpose()?;
            let client = Stack::new(args, &site, metrics.as_ref())?;
            let mut server = None;
            if let (Some(addr), Some(metrics)) = (args.serve, metrics) {
                let serving = metrics.serve(addr, client.client().clone()).await?;
                View::line(&format!("metrics at http://{}/metrics", serving.addr));
                server = Some(serving);
            }
            let load = args.load(&site, args.requests);
            let run = measure(contender, client, load, &site, view).await;
            drop(server);
            run
        }
    }
}

async fn measure<C: Client>(
    contender: Contender,
    client: C,
    load: Load,
    site: &Site,
    view: &mut View,
) -> Result<Run, BoxError> {
    let progress = Progress::default();
    let running = load::run(client.clone(), &load, &progress);
    let shown = view.during(
        contender.label(),
        load.requests,
        &progress,
        || client.pool(),
        running,
    );
    let tally = shown.await?;
    // Counted while the client still lives: what it keeps open on purpose is no debris.
    Ok(Run::new(contender, &tally, site.counts()))
}
