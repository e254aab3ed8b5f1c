//! Floods one server through a `tollgate::Client` and fails on a single error.
//!
//! ```text
//! peers --url https://localhost:8443/ --root ca.pem --requests 100000 --bursts 3 --pause 6
//! peers --url https://localhost:8443/ --root ca.pem --cancelled 5000 --slow https://localhost:8443/slow
//! peers --url https://localhost:8443/ --root ca.pem --shake "nginx -s reload" --shakes 20
//! ```
//!
//! Every tenth request is a POST. Between two bursts everything idles for the pause, which is where
//! servers with a short keep-alive timeout close connections. `--cancelled` gives up so many calls
//! beside as many callers who do not; `--shake` runs a command again and again under the load, which
//! ends the server's connections. Prints one line; the exit status shows whether every request was
//! answered that had to be.

mod body;
mod cancelled;
mod exchange;
mod shaken;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use body::Files;
use clap::Parser;
use exchange::{describe, exchange};
use http::Uri;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate::tls::{Alpn, TlsOptions};
use tollgate::{BoxError, Client, Protocol};

/// Floods one server and fails on a single error.
#[derive(Parser)]
struct Options {
    /// The path to request.
    #[arg(long)]
    url: Uri,
    /// The number of requests in all.
    #[arg(long, default_value_t = 100_000)]
    requests: u64,
    /// The number of requests at once.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// In how many bursts.
    #[arg(long, default_value_t = 1)]
    bursts: u64,
    /// Seconds between two bursts.
    #[arg(long, default_value_t = 6)]
    pause: u64,
    /// A PEM file with the authority of the server's certificate.
    #[arg(long)]
    root: Option<PathBuf>,
    /// No POSTs, for servers that only serve files.
    #[arg(long)]
    only_get: bool,
    /// A file that each response's body must equal, byte for byte, as it streams in.
    #[arg(long)]
    expect: Option<PathBuf>,
    /// A file to POST each time, streamed.
    #[arg(long)]
    upload: Option<PathBuf>,
    /// HTTP/1.1 only, or HTTP/2 only; without it, what TLS agrees on.
    #[arg(long, value_enum)]
    only: Option<Version>,
    /// Calls to give up, in place of the flood, beside as many callers who do not.
    #[arg(long, requires = "slow")]
    cancelled: Option<u64>,
    /// The path of the calls to give up: it answers late, or with a body that is not read.
    #[arg(long)]
    slow: Option<Uri>,
    /// A shell command that ends connections, to run under the flood, which lasts as long.
    #[arg(long)]
    shake: Option<String>,
    /// How often to run it.
    #[arg(long, default_value_t = 20)]
    shakes: u32,
    /// Milliseconds from one to the next.
    #[arg(long, default_value_t = 200)]
    apart: u64,
    /// Nothing listens for a moment when it runs: dials may fail.
    #[arg(long)]
    may_refuse: bool,
    /// The server says GOAWAY before it ends a connection: no POST may be lost either.
    #[arg(long)]
    says_goodbye: bool,
}

/// A version of HTTP.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Version {
    Http1,
    Http2,
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let options = Arc::new(Options::parse());
    let files = Files::read(&options)?;
    let client = client(&options)?;
    let failed = if options.cancelled.is_some() {
        cancelled::run(&client, &options, &files).await?
    } else if options.shake.is_some() {
        shaken::run(&client, &options, &files).await?
    } else {
        floods(&client, &options, &files).await?
    };
    Ok(ExitCode::from(u8::from(failed)))
}

fn client(options: &Options) -> Result<Client, BoxError> {
    let mut builder = Client::builder();
    if options.cancelled.is_none() {
        // What is given up is given up at the defaults.
        builder = builder
            .max_connections_per_origin(options.concurrency)
            .max_waiting(options.concurrency);
    }
    if let Some(root) = &options.root {
        let pem = std::fs::read(root)?;
        let tls = TlsOptions::new().webpki_roots(false).root_pem(pem);
        builder = builder.tls(match options.only {
            Some(Version::Http1) => tls.alpn(Alpn::Http1),
            Some(Version::Http2) => tls.alpn(Alpn::Http2),
            None => tls.alpn(Alpn::Auto),
        });
    } else if let Some(Version::Http2) = options.only {
        builder = builder.protocol(Protocol::Http2);
    }
    Ok(builder.build()?)
}

/// Errors by their texts.
type Errors = BTreeMap<String, u64>;

/// All bursts; returns true if a request failed.
async fn floods(client: &Client, options: &Arc<Options>, files: &Files) -> Result<bool, BoxError> {
    let mut errors = Errors::new();
    let mut busy = Duration::ZERO;
    for burst in 0..options.bursts {
        if burst > 0 {
            tokio::time::sleep(Duration::from_secs(options.pause)).await;
        }
        let began = Instant::now();
        flood(client, options, files, &mut errors).await?;
        busy += began.elapsed();
    }
    let failed: u64 = errors.values().sum();
    let stats = client.stats(&options.url.to_string());
    let (opened, reused) = stats.map_or((0, 0), |stats| (stats.opened, stats.reused));
    writeln!(
        std::io::stdout(),
        "{}: {} requests, {failed} errors, {opened} connections, {reused} reuses, {:.2} s",
        options.url,
        options.requests,
        busy.as_secs_f64(),
    )?;
    tell(&errors)?;
    Ok(failed > 0)
}

fn tell(errors: &Errors) -> std::io::Result<()> {
    for (error, times) in errors {
        writeln!(std::io::stderr(), "{times} times: {error}")?;
    }
    Ok(())
}

/// One burst.
async fn flood(
    client: &Client,
    options: &Arc<Options>,
    files: &Files,
    errors: &mut Errors,
) -> Result<(), BoxError> {
    let started = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..options.concurrency {
        let (client, options, started) =
            (client.clone(), Arc::clone(options), Arc::clone(&started));
        let files = files.clone();
        workers.spawn(async move {
            let mut errors = Errors::new();
            loop {
                let nth = started.fetch_add(1, Relaxed);
                if nth >= options.requests / options.bursts.max(1) {
                    return errors;
                }
                if let Err(error) = exchange(&client, &options, &files, nth).await {
                    *errors.entry(describe(&*error)).or_default() += 1;
                }
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        for (error, times) in done? {
            *errors.entry(error).or_default() += times;
        }
    }
    Ok(())
}
