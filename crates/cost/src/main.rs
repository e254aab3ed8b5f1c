//! What a request on an idle connection costs: instructions and allocations beside bare hyper.
//!
//! `cargo run --release -p tollgate-cost` prints the table and fails if a gate is missed. It needs
//! valgrind for the instructions, which callgrind counts and which repeat from run to run; times do
//! not, so there are none.
//!
//! A snapshot of a client is counted too, for each of its origins.
//!
//! Every client runs beside one idle timer, as every service has some: a runtime that has a timer
//! looks at the clock whenever it sleeps, and that is no cost of whoever set the second one.

mod h2;
mod snapshot;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer, Protocol};
use tollgate_queue_metrics::{PoolMetrics, names};
use tower::{Layer, Service, ServiceExt};

/// Requests in the shorter run; the longer one has twice as many, and the difference is what counts.
const REQUESTS: u32 = 2_000;

/// A client, and what it may cost at most: instructions as a multiple of bare hyper's, and
/// allocations more than bare hyper's.
struct Row(&'static str, Option<(f64, f64)>);

const ROWS: [Row; 6] = [
    Row("bare", None),
    Row("origin", Some((1.10, 0.0))),
    Row("pool", Some((1.20, 0.0))),
    Row("client", Some((1.25, 0.0))),
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

/// How many requests there are between two reports: ten seconds at a hundred a second. A busier
/// pool pays less for each.
const REPORT_EVERY: u32 = 1_000;

/// What a snapshot of a client may cost for each of its origins, in instructions: with a thousand of
/// them, once a second, that is a thousandth of a processor.
const SNAPSHOT: f64 = 3_000.0;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("serve") => serve(),
        Some("serve-h2") => h2::serve(),
        Some("run") => run(
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

/// Allocations per request, counted in a run of its own.
fn allocations(client: &str, addr: &str) -> f64 {
    let count = |requests: u32| {
        let out = this(&["run", client, addr, &requests.to_string()])
            .output()
            .expect("runs");
        assert!(
            out.status.success(),
            "{client}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout)
            .trim()
            .parse::<f64>()
            .expect("prints a number")
    };
    (count(2 * REQUESTS) - count(REQUESTS)) / f64::from(REQUESTS)
}

/// Instructions per request in user space.
fn instructions(client: &str, addr: &str) -> f64 {
    let count = |requests: u32| {
        let exe = std::env::current_exe().expect("has a path");
        let out = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .args(["--toggle-collect=*uncounted*", "--collect-atstart=yes"])
            .arg(exe)
            .args(["run", client, addr, &requests.to_string()])
            .output()
            .expect("valgrind is installed");
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        let line = text.lines().find(|line| line.contains("Collected"));
        let collected = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        collected.unwrap_or_else(|| panic!("{client}: callgrind counted nothing: {text}"))
    };
    (count(2 * REQUESTS) - count(REQUESTS)) / f64::from(REQUESTS)
}

fn this(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("has a path"));
    command.args(args);
    command
}

/// The upstream, in a process of its own so that its instructions are not counted.
struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start(which: &str) -> Self {
        let mut child = this(&[which])
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawns");
        let mut addr = String::new();
        let stdout = child.stdout.take().expect("is piped");
        BufReader::new(stdout)
            .read_line(&mut addr)
            .expect("prints its address");
        Self {
            child,
            addr: addr.trim().to_owned(),
        }
    }

    fn stop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Answers every request with 256 bytes.
fn serve() {
    // An origin server must send a date (RFC 9110 section 6.6.1), and the others are as common.
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 256\r\ncontent-type: text/plain\r\n\
                date: Tue, 24 Nov 2026 04:00:00 GMT\r\n\r\n";
    let answer: &'static str = format!("{head}{}", "x".repeat(256)).leak();
    runtime().block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        writeln!(
            std::io::stdout(),
            "{}",
            listener.local_addr().expect("is bound")
        )
        .ok();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).ok();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    seen.extend_from_slice(&buffer[..n]);
                    while let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                        seen.drain(..end + 4);
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}

/// Sends `requests` one after the other and prints how many allocations that took.
fn run(client: &str, addr: &str, requests: u32) {
    let info = allocation_counter::measure(|| {
        runtime().block_on(async {
            tokio::spawn(tokio::time::sleep(Duration::from_secs(3600)));
            match client {
                "bare" => bare(addr, requests).await,
                "origin" => {
                    let origin = format!("http://{addr}").parse().expect("an origin");
                    let pool = KeepAlive::new(connector());
                    let pool = pool.origin(&origin).expect("has a host");
                    through(pool, &Uri::from_static("/fast"), requests).await;
                }
                "pool" => through(KeepAlive::new(connector()), &uri(addr), requests).await,
                "client" => {
                    let client = tollgate::Client::builder().connector(connector()).build();
                    through(
                        client.expect("the defaults make sense"),
                        &uri(addr),
                        requests,
                    )
                    .await;
                }
                "pool+nothing" => observed_pool(addr, requests, false, false).await,
                "pool+metrics" => observed_pool(addr, requests, true, false).await,
                "pool+metrics+recorder" => observed_pool(addr, requests, true, true).await,
                "legacy" => {
                    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
                    through(client.build(connector()), &uri(addr), requests).await;
                }
                "reqwest" => reqwest(addr, requests).await,
                "snapshot" => snapshot::take(addr, requests / 10).await,
                "h2 bare" => h2::bare(addr, &uri(addr), requests).await,
                "h2 origin" => {
                    let origin = format!("http://{addr}").parse().expect("an origin");
                    let pool = of_streams().origin(&origin).expect("has a host");
                    through(pool, &Uri::from_static("/fast"), requests).await;
                }
                "h2 pool" => through(of_streams(), &uri(addr), requests).await,
                "h2 legacy" => {
                    let mut client =
                        hyper_util::client::legacy::Client::builder(TokioExecutor::new());
                    client.http2_only(true);
                    through(client.build(connector()), &uri(addr), requests).await;
                }
                other => panic!("no client {other}"),
            }
        });
    });
    writeln!(std::io::stdout(), "{}", info.count_total).ok();
}

/// The pool, told that its origins speak HTTP/2.
fn of_streams() -> KeepAlive {
    let layer = KeepAliveLayer::new().protocol(Protocol::Http2);
    layer.layer(connector())
}

/// The pool with its metrics; with a recorder, they are reported to it now and then.
async fn observed_pool(addr: &str, requests: u32, observed: bool, recorded: bool) {
    let metrics = Arc::new(PoolMetrics::new());
    let mut layer = KeepAliveLayer::new();
    if observed {
        layer = layer.observer(metrics.clone());
    }
    let pool = layer.layer(connector());
    let page = recorded.then(uncounted_exporter);
    for _ in 0..requests / REPORT_EVERY {
        through(pool.clone(), &uri(addr), REPORT_EVERY).await;
        if let Some(page) = &page {
            // Allocations are those of the requests: a report has its own, whatever came since.
            allocation_counter::opt_out(|| {
                metrics.report();
                page.run_upkeep();
            });
        }
    }
}

/// Not counted: the exporter measures its clock against the system's first, which takes as many
/// instructions as it happens to.
#[inline(never)]
fn uncounted_exporter() -> PrometheusHandle {
    let exporter = names::buckets().fold(PrometheusBuilder::new(), |exporter, (name, buckets)| {
        let name = Matcher::Full(name.to_owned());
        let with = exporter.set_buckets_for_metric(name, buckets);
        with.expect("buckets are not empty")
    });
    exporter.install_recorder().expect("is the only one")
}

fn uri(addr: &str) -> Uri {
    format!("http://{addr}/fast").parse().expect("a URI")
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

async fn bare(addr: &str, requests: u32) {
    let stream = TcpStream::connect(addr).await.expect("connects");
    stream.set_nodelay(true).expect("is TCP");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("needs no bytes");
    tokio::spawn(connection);
    let host = http::HeaderValue::from_str(addr).expect("is ASCII");
    let uri = Uri::from_static("/fast");
    for _ in 0..requests {
        sender.ready().await.expect("stays open");
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri.clone();
        request
            .headers_mut()
            .insert(http::header::HOST, host.clone());
        let response = sender.send_request(request).await.expect("is answered");
        read(response.into_body()).await;
    }
}

async fn through<S, B>(mut service: S, uri: &Uri, requests: u32)
where
    S: Service<Request<Empty<Bytes>>, Response = http::Response<B>, Error: std::fmt::Debug>,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    for _ in 0..requests {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri.clone();
        let ready = service.ready().await.expect("is ready");
        let response = ready.call(request).await.expect("is answered");
        read(response.into_body()).await;
    }
}

async fn reqwest(addr: &str, requests: u32) {
    let client = reqwest::Client::new();
    let uri = format!("http://{addr}/fast");
    for _ in 0..requests {
        let mut response = client.get(&uri).send().await.expect("is answered");
        while response.chunk().await.expect("is whole").is_some() {}
    }
}

async fn read<B>(mut body: B)
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("is whole");
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(length, 256);
}
