//! A reverse proxy: axum in front, Tollgate behind, bodies streamed both ways.
//!
//! ```text
//! axum_gateway --listen 127.0.0.1:8080 --upstream http://127.0.0.1:9000 --ops 127.0.0.1:9100
//! ```
//!
//! It runs until SIGTERM or ctrl-c, then lets exchanges end (`--drain`) and prints how many it had to
//! cut or refuse. Without arguments it shows itself with an upstream of its own.
//!
//! Choices:
//!
//! - Bodies are handed on frame by frame; nothing is collected. A response that breaks off behind
//!   the gateway breaks off in front of it, which callers of HTTP/1.0 can tell by a length only. A
//!   caller that disconnects cancels its exchange.
//! - Hop-by-hop headers end here, both ways, and so do those that `Connection` names, but for a few
//!   that it may not name. `TE: trailers` is said anew. `Upgrade` is not forwarded, so upstreams
//!   answer as if it had not been asked for.
//! - `Host` is the upstream's; the caller's is in `X-Forwarded-Host`, or that of an absolute target.
//!   A caller's own `X-Forwarded-Host` and `X-Forwarded-Proto` end here. Its address is added to
//!   `X-Forwarded-For`, after what came with the request: whoever faces strangers removes that
//!   first, and `Forwarded`. `Via` is added both ways.
//! - `OPTIONS *` asks the upstream, not the gateway, unless `Max-Forwards` is 0: OPTIONS is then a 204
//!   from here, and TRACE a 501. Requests without one good `Host` are refused.
//! - hyper frames each message anew. A body in another transfer coding than `chunked`, or in it more
//!   than once, and a switch of protocols that was not asked for, are refused rather than passed on
//!   as something else.
//! - 504 if a clock ended it, 503 if nothing was sent and another attempt may fare better (with
//!   `Retry-After` if the queue was full), 502 otherwise. The body names the kind, not the upstream.
//! - `/metrics` and `/stats` have an address of their own (`--ops`), so they hide no upstream's path.
//! - The limit on a response (`--response-timeout`) starts with the request, and so covers uploads.
//!   None is on how slowly a caller sends its head or reads: that takes hyper-util's server in the
//!   place of `axum::serve`.

mod demo;
mod hop;
mod ops;
mod proxy;
mod target;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::ListenerExt;
use clap::Parser;
use http::Uri;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tollgate::Client;
use tower::BoxError;

/// Seconds that exchanges in progress have at the end: a third of what Kubernetes gives a pod.
const DRAIN: u64 = 10;

/// A reverse proxy; without arguments, a demonstration of one.
#[derive(Parser)]
struct Options {
    /// The address to listen on.
    #[arg(long, requires = "upstream")]
    listen: Option<SocketAddr>,
    /// The upstream: scheme, host and port.
    #[arg(long, requires = "listen")]
    upstream: Option<Uri>,
    /// The most connections to the upstream.
    #[arg(long, default_value_t = 128)]
    max_connections: usize,
    /// Seconds from a request to the head of its response, with its upload and its wait.
    #[arg(long, default_value_t = 300)]
    response_timeout: u64,
    /// Seconds that exchanges in progress have to end, once it is asked to stop.
    #[arg(long, default_value_t = DRAIN)]
    drain: u64,
    /// The address of `/metrics` and `/stats`; off without.
    #[arg(long)]
    ops: Option<SocketAddr>,
    /// Be an upstream that sends bodies back instead, here.
    #[arg(long, conflicts_with = "listen")]
    echo: Option<SocketAddr>,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut options = Options::parse();
    if let Some(addr) = options.echo {
        let listener = TcpListener::bind(addr).await?;
        let listener = listener.tap_io(|tcp| drop(tcp.set_nodelay(true)));
        return Ok(axum::serve(listener, demo::echo()).await?);
    }
    if options.listen.is_none() {
        options.max_connections = demo::connections();
    }
    let metrics = ops::Metrics::install()?;
    let client = Client::builder()
        .max_connections_per_origin(options.max_connections)
        .response_timeout(Duration::from_secs(options.response_timeout))
        // nginx's proxy_read_timeout.
        .body_idle_timeout(Duration::from_secs(60))
        .observer(metrics.pool.clone())
        .build()?;
    let (Some(listen), Some(upstream)) = (options.listen, options.upstream) else {
        return demo::run(client, metrics).await;
    };
    if upstream.scheme().is_none() || upstream.authority().is_none() || upstream.path() != "/" {
        return Err(format!("--upstream {upstream}: scheme and host are needed, no path").into());
    }
    if let Some(addr) = options.ops {
        let listener = TcpListener::bind(addr).await?;
        let router = metrics.router(client.clone());
        drop(tokio::spawn(axum::serve(listener, router).into_future()));
    }
    let listener = TcpListener::bind(listen).await?;
    let mut term = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let limit = Duration::from_secs(options.drain);
    let drained = proxy::serve(listener, client, upstream, stop, limit).await?;
    writeln!(std::io::stdout(), "drained, {drained}")?;
    Ok(())
}
