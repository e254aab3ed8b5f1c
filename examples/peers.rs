//! Floods one server through a `tollgate::Client` and fails on a single error.
//!
//! ```text
//! peers --url https://localhost:8443/ --root ca.pem --requests 100000 --bursts 3 --pause 6
//! ```
//!
//! Every tenth request is a POST. Between two bursts everything idles for the pause, which is where
//! servers with a short keep-alive timeout close connections. Prints one line; the exit status says
//! whether every request was answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate::tls::{Alpn, TlsOptions};
use tollgate::{BoxError, Client, Protocol};

/// Floods one server and fails on a single error.
#[derive(Parser)]
struct Options {
    /// What to ask for.
    #[arg(long)]
    url: Uri,
    /// How many requests in all.
    #[arg(long, default_value_t = 100_000)]
    requests: u64,
    /// How many at once.
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
    let mut builder = Client::builder()
        .max_connections_per_origin(options.concurrency)
        .max_waiting(options.concurrency);
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
    let client = builder.build()?;

    let mut errors = BTreeMap::new();
    let mut busy = Duration::ZERO;
    for burst in 0..options.bursts {
        if burst > 0 {
            tokio::time::sleep(Duration::from_secs(options.pause)).await;
        }
        let began = Instant::now();
        flood(&client, &options, &files, &mut errors).await?;
        busy += began.elapsed();
    }
    let failed: u64 = errors.values().sum();
    report(&client, &options, busy, failed)?;
    for (error, times) in &errors {
        writeln!(std::io::stderr(), "{times} times: {error}")?;
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// One burst.
async fn flood(
    client: &Client,
    options: &Arc<Options>,
    files: &Files,
    errors: &mut BTreeMap<String, u64>,
) -> Result<(), BoxError> {
    let started = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..options.concurrency {
        let (client, options, started) =
            (client.clone(), Arc::clone(options), Arc::clone(&started));
        let files = files.clone();
        workers.spawn(async move {
            let mut errors = BTreeMap::<String, u64>::new();
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

async fn exchange(
    client: &Client,
    options: &Options,
    files: &Files,
    nth: u64,
) -> Result<(), BoxError> {
    let mut request = Request::new(Pieces(Bytes::new()));
    *request.uri_mut() = options.url.clone();
    if let Some(upload) = &files.upload {
        *request.method_mut() = Method::POST;
        *request.body_mut() = Pieces(upload.clone());
    } else if nth % 10 == 9 && !options.only_get {
        *request.method_mut() = Method::POST;
        *request.body_mut() = Pieces(Bytes::from_static(b"an invoice"));
    }
    let response = client.request(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    let mut at = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if let Some(expected) = &files.expect
            && expected.get(at..at + data.len()) != Some(&data[..])
        {
            return Err("a body is not what was expected".into());
        }
        at += data.len();
    }
    if !status.is_success() {
        return Err(format!("status {status}").into());
    }
    match &files.expect {
        Some(expected) if expected.len() != at => Err("a body is too short".into()),
        _ => Ok(()),
    }
}

/// What is sent and what must come back.
#[derive(Clone)]
struct Files {
    expect: Option<Bytes>,
    upload: Option<Bytes>,
}

impl Files {
    fn read(options: &Options) -> std::io::Result<Self> {
        let read = |path: &Option<PathBuf>| path.as_ref().map(std::fs::read).transpose();
        Ok(Self {
            expect: read(&options.expect)?.map(Bytes::from),
            upload: read(&options.upload)?.map(Bytes::from),
        })
    }
}

/// A body of a known length that comes in pieces.
struct Pieces(Bytes);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.0.len().min(64 * 1024);
        let piece = (len > 0).then(|| Ok(Frame::data(self.0.split_to(len))));
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// The error and what lies below it.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn report(client: &Client, options: &Options, busy: Duration, failed: u64) -> std::io::Result<()> {
    let stats = client.stats(&options.url.to_string());
    let (opened, reused) = stats.map_or((0, 0), |stats| (stats.opened, stats.reused));
    writeln!(
        std::io::stdout(),
        "{}: {} requests, {failed} errors, {opened} connections, {reused} reuses, {:.2} s",
        options.url,
        options.requests,
        busy.as_secs_f64(),
    )
}
