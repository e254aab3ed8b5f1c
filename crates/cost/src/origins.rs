//! A pool with many origins: opening them, and dialling one of them.

use std::io::{Write, stdout};
use std::num::{NonZeroU64, NonZeroUsize};
use std::process::exit;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer};
use tower::{Layer, ServiceExt, service_fn};

/// The most that opening 2,000 origins may cost in all, in millions of instructions.
const OPENED: f64 = 200.0;

/// The most that an event may cost with 10,000 origins, as a multiple of what it costs with few.
const BESIDE_MANY: f64 = 1.2;

/// The events on one origin of many: the client, and its few and its many origins.
const EVENTS: [(&str, u32, u32); 2] = [
    // A dial of one origin, the others only met.
    ("dial", 1, 10_000),
    // A place of the total cap that is passed on to one of those that wait for it.
    ("pass", 1_000, 10_000),
];

/// The time that a request may wait: longer than a run takes.
const LONG: Duration = Duration::from_secs(3600);

/// Events in the shorter run of the two.
const EVENTS_COUNTED: u32 = 300;

/// Prints what many origins cost; `false` if that is too much.
pub(crate) fn gate(addr: &str) -> bool {
    let mut held = opened(addr);
    for (client, few, many) in EVENTS {
        held &= beside_many(client, few, many, addr);
    }
    held
}

/// Prints what it costs to open 2,000 origins; `false` if that is too much.
fn opened(addr: &str) -> bool {
    let count = |origins| crate::count::collected("opened", addr, origins);
    let millions = (count(2_000) - count(0)) / 1e6;
    let ok = millions <= OPENED;
    let verdict = if ok { "" } else { "  MISSED" };
    writeln!(
        stdout(),
        "{:21} {millions:>12.1} million to open 2,000 origins{verdict}",
        "opened"
    )
    .ok();
    ok
}

/// Prints what an event costs with many origins, beside what it costs with few; `false` if that is too
/// much.
fn beside_many(client: &str, few: u32, many: u32, addr: &str) -> bool {
    let cost = |origins: u32| {
        let client = format!("{client} {origins}");
        let count = |events| crate::count::collected(&client, addr, events);
        (count(2 * EVENTS_COUNTED) - count(EVENTS_COUNTED)) / f64::from(EVENTS_COUNTED)
    };
    let (few_cost, many_cost) = (cost(few), cost(many));
    let ratio = many_cost / few_cost;
    let ok = ratio <= BESIDE_MANY;
    let verdict = if ok { "" } else { "  MISSED" };
    writeln!(
        stdout(),
        "{client:21} {many_cost:>12.0} {ratio:>8.3}  x {few} origins, with {many}{verdict}"
    )
    .ok();
    ok
}

/// A pool all of whose origins are at `addr`.
fn pool(layer: &KeepAliveLayer, addr: &str) -> KeepAlive {
    let addr: std::net::SocketAddr = addr.parse().expect("an address");
    layer.layer(service_fn(move |_: Uri| async move {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(TokioIo::new(stream))
    }))
}

fn uri(origin: u32) -> Uri {
    let uri = format!("http://upstream-{origin}.internal/fast").parse();
    uri.expect("a URI")
}

async fn fetch(pool: &KeepAlive, uri: Uri) {
    let request = Request::get(uri).body(Empty::<Bytes>::new());
    let response = pool.clone().oneshot(request.expect("a request")).await;
    crate::clients::read(response.expect("is answered").into_body()).await;
}

/// Sends one request to each of so many origins, whose connections stay, and ends the process: closing
/// them is not counted.
pub(crate) async fn open(addr: &str, origins: u32) -> ! {
    let pool = pool(&KeepAliveLayer::new(), addr);
    for origin in 0..origins {
        fetch(&pool, uri(origin)).await;
    }
    exit(0)
}

/// Meets so many origins, then dials one of them anew for each request: sooner than the others are
/// forgotten.
pub(crate) async fn dial(addr: &str, origins: u32, dials: u32) {
    let layer = KeepAliveLayer::new().max_requests_per_connection(NonZeroU64::MIN);
    let pool = pool(&layer, addr);
    for origin in 0..origins {
        let origin = uri(origin).to_string().parse().expect("an origin");
        drop(pool.origin(&origin).expect("has a host"));
    }
    for _ in 0..dials {
        fetch(&pool, uri(0)).await;
    }
}

/// Has so many origins wait for the one place that there is, passes it on so often, and ends the process:
/// what becomes of the others is not counted.
pub(crate) async fn pass(addr: &str, origins: u32, places: u32) {
    let layer = KeepAliveLayer::new().max_connections_total(NonZeroUsize::MIN);
    let pool = pool(&layer.acquire_timeout(LONG), addr);
    let holder = Request::get(uri(origins)).body(Empty::<Bytes>::new());
    let held = pool.clone().oneshot(holder.expect("a request")).await;
    let (passed, mut served) = mpsc::unbounded_channel();
    for origin in 0..origins {
        let (pool, passed) = (pool.clone(), passed.clone());
        tokio::spawn(async move {
            fetch(&pool, uri(origin)).await;
            passed.send(()).ok();
        });
    }
    // Each is polled once, and waits.
    tokio::task::yield_now().await;
    crate::clients::read(held.expect("is answered").into_body()).await;
    for _ in 0..places {
        served.recv().await;
    }
    exit(0)
}
