//! What follows from the end of one connection when many origins wait for its place.

use std::time::Duration;

use http::Uri;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tollgate_keep_alive::KeepAlive;
use tollgate_testing::{Connector, Gate, Reply, Upstream, eventually, within};
use tower::{Layer, ServiceExt};

use super::n;
use super::support::{cap, holding, read, request};

/// For a thousand dials one after the other, on a machine that is busy.
const MINUTES: Duration = Duration::from_secs(300);

async fn served(pool: KeepAlive, uri: Uri) -> Result<(), String> {
    let answer = pool.oneshot(request("GET", &uri)).await;
    let answer = answer.map_err(|error| error.to_string())?;
    read(answer).await.map_err(|error| error.to_string())?;
    Ok(())
}

/// Calls to as many origins, which wait for the place of another.
fn a_thousand_wait(runtime: &Runtime, pool: &KeepAlive) -> Vec<JoinHandle<Result<(), String>>> {
    let waiting = (0..1_000).map(|number| {
        let uri = format!("http://{number}.test/").parse::<Uri>().unwrap();
        runtime.spawn(served(pool.clone(), uri))
    });
    let waiting = waiting.collect();
    let queued = || {
        pool.snapshot()
            .origins
            .iter()
            .map(|one| one.queued)
            .sum::<usize>()
    };
    runtime.block_on(eventually(|| queued() == 1_000));
    waiting
}

async fn are_served(waiting: Vec<JoinHandle<Result<(), String>>>) {
    for call in waiting {
        within(MINUTES, call).await.unwrap().unwrap();
    }
}

/// On a thread with little stack, as a runtime's own threads have.
fn drop_on_a_little_stack(what: impl Send + 'static) {
    let ending = std::thread::Builder::new().stack_size(256 * 1024);
    ending.spawn(move || drop(what)).unwrap().join().unwrap();
}

/// Each place that was passed on once went one call deeper, and two hundred origins were too deep.
#[test]
fn ending_a_runtime_overflows_no_stack() {
    let servers = Runtime::new().unwrap();
    let gate = Gate::new();
    let upstream = servers.block_on(holding(&gate));
    let layer = cap(1).max_connections_total(n(1)).acquire_timeout(MINUTES);
    let pool: KeepAlive = layer.layer(Connector::tcp(upstream.addr()));
    let first = Runtime::new().unwrap();
    let holder = first.spawn({
        let (pool, uri) = (pool.clone(), upstream.uri("/held"));
        served(pool, uri)
    });
    servers.block_on(gate.reached(1));
    let second = Runtime::new().unwrap();
    let waiting = a_thousand_wait(&second, &pool);
    drop_on_a_little_stack((holder, first));
    second.block_on(are_served(waiting));
}

/// The same for a tunnel's IO that is dropped on a plain thread.
#[test]
fn a_tunnel_dropped_off_runtime_passes_its_place() {
    let runtime = Runtime::new().unwrap();
    let upstream = runtime.block_on(Upstream::start(|request| match &*request.target {
        "/tunnel" => Reply::raw(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        ),
        _ => Reply::ok("ok"),
    }));
    let layer = cap(1).max_connections_total(n(1)).acquire_timeout(MINUTES);
    let pool: KeepAlive = layer.layer(Connector::tcp(upstream.addr()));
    let tunnel = runtime.block_on(async {
        let mut request = request("GET", &Uri::from_static("http://a.test/tunnel"));
        let headers = request.headers_mut();
        headers.insert("connection", "upgrade".parse().unwrap());
        headers.insert("upgrade", "x".parse().unwrap());
        let response = pool.clone().oneshot(request).await.unwrap();
        hyper::upgrade::on(response).await.unwrap()
    });
    let waiting = a_thousand_wait(&runtime, &pool);
    drop_on_a_little_stack(tunnel);
    runtime.block_on(are_served(waiting));
}
