//! A client that opens a connection for each call, in a network namespace with 500 local ports, and the
//! page that a Prometheus scrapes meanwhile.
//!
//! ```text
//! cargo run -p tollgate-sockets --features metrics --example ports_run_out -- 127.0.0.1:9000 20
//! ```
//!
//! opens 20 connections a second and answers scrapes at that address: half of the ports are gone after
//! 13 s and the last one after 25 s. With 2 a second, `TIME_WAIT` ends as fast as it begins. `.ci/prometheus`
//! holds that the alert fires for the one, before its first EADDRNOTAVAIL, and not for the other.

use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use nix::sched::{CloneFlags, unshare};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval};
use tollgate_core::Origin;
use tollgate_sockets::SocketMetrics;

const PORTS: &str = "40000 40499";

/// Dials that failed for want of a port.
const EXHAUSTED: &str = "example_eaddrnotavail_total";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(page), Some(rate)) = (arguments.next(), arguments.next()) else {
        return Err("ports_run_out ADDRESS CONNECTIONS_A_SECOND".into());
    };
    let rate: u32 = rate.parse()?;
    // Opened before the namespace is left behind: a socket stays in the one that it was made in.
    let page = std::net::TcpListener::bind(page.parse::<SocketAddr>()?)?;
    page.set_nonblocking(true)?;
    // Before there is a second thread, which would stay outside.
    let owner = std::fs::metadata("/proc/self")?.uid();
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    // Root inside, and nobody special outside, so that `ip` may do its work.
    std::fs::write("/proc/self/uid_map", format!("0 {owner} 1"))?;
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()?;
    if !up.success() {
        return Err("loopback does not come up".into());
    }
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", PORTS)?;
    std::fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "0")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run(page, rate.max(1)))
}

async fn run(page: std::net::TcpListener, rate: u32) -> Result<(), Box<dyn Error>> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    metrics::counter!(EXHAUSTED).absolute(0);
    let sockets = Arc::new(SocketMetrics::new());
    sockets.spawn(Duration::from_millis(500)).detach();
    let page = TcpListener::from_std(page)?;
    drop(tokio::spawn(async move { serve(page, handle).await }));
    let upstream = TcpListener::bind("127.0.0.1:80").await?;
    let to = upstream.local_addr()?;
    drop(tokio::spawn(async move { accept(upstream).await }));
    let origin: Origin = "http://billing.internal".parse()?;
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sockets.watch(&origin, to);
        match TcpStream::connect(to).await {
            // Closed by this side first, as by a client that is made anew for each call.
            Ok(stream) => drop(stream),
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                metrics::counter!(EXHAUSTED).increment(1);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Closes each connection once the peer has.
async fn accept(upstream: TcpListener) {
    while let Ok((mut stream, _)) = upstream.accept().await {
        tokio::spawn(async move { stream.read(&mut [0]).await.map(drop) });
    }
}

async fn serve(page: TcpListener, handle: PrometheusHandle) {
    while let Ok((mut scrape, _)) = page.accept().await {
        let body = handle.render();
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let mut request = [0; 4096];
        // A scrape that was given up is not answered.
        if scrape.read(&mut request).await.is_ok() {
            drop(scrape.write_all(answer.as_bytes()).await);
        }
    }
}
