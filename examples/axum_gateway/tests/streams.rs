//! Bodies as they come, and exchanges that end before their time.

use tollgate::Client;
use tollgate_testing::{DEADLINE, Gate, Reply, Upstream};

use super::support::{Caller, Site, serve};
use crate::demo;

const POST: &str = "POST / HTTP/1.1\r\nhost: a.test\r\n";

#[tokio::test]
async fn answer_streams_back_during_the_upload() {
    let upstream = serve(demo::echo()).await;
    let site = Site::with(upstream, Client::builder(), DEADLINE).await;
    let mut caller = site
        .call(format!("{POST}transfer-encoding: chunked\r\n\r\n"))
        .await;
    caller.send("3\r\none\r\n").await;
    assert_eq!(caller.head().await.status(), 200);
    assert_eq!(caller.bytes(8).await, "3\r\none\r\n");
    caller.send("3\r\ntwo\r\n").await;
    assert_eq!(caller.bytes(8).await, "3\r\ntwo\r\n");
    caller.send("0\r\n\r\n").await;
    assert_eq!(caller.bytes(5).await, "0\r\n\r\n");
}

#[tokio::test]
async fn early_answer_passes_before_upload_ends() {
    let upstream = Upstream::start(|_| Reply::respond(413, "too large").before_body()).await;
    let site = Site::before(&upstream).await;
    let mut caller = site
        .call(format!("{POST}content-length: 9999\r\n\r\nbegun"))
        .await;
    assert_eq!(caller.head().await.status(), 413);
    assert_eq!(caller.bytes(9).await, "too large");
}

#[tokio::test]
async fn broken_upstream_body_breaks_the_callers_body() {
    let chunks = |gate: &Gate| Reply::chunked().chunk("hello").wait(gate);
    let short = |gate: &Gate| {
        let head = Reply::head(200).header("content-length", "19");
        head.body("hello, you").wait(gate)
    };
    for last in [Reply::close, Reply::reset] {
        assert_eq!(broken(chunks, last).await, "", "no last chunk is made up");
        assert_eq!(broken(short, last).await, "");
    }
}

/// What a caller gets after ten bytes of body, when the upstream goes on to its last step.
async fn broken(begin: impl FnOnce(&Gate) -> Reply, last: fn(Reply) -> Reply) -> String {
    let gate = Gate::new();
    let reply = last(begin(&gate));
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let site = Site::before(&upstream).await;
    let mut caller = site.get("").await;
    assert_eq!(caller.head().await.status(), 200);
    assert_eq!(caller.bytes(10).await.len(), 10);
    gate.open();
    caller.rest().await
}

#[tokio::test]
async fn caller_cancelled_in_download_ends_it_upstream() {
    let upstream = Upstream::start(|_| Reply::chunked().chunk("hello").hold()).await;
    let site = Site::before(&upstream).await;
    let mut caller = site.get("").await;
    caller.head().await;
    assert_eq!(caller.bytes(10).await, "5\r\nhello\r\n");
    leaves(caller, &site, &upstream).await;
}

#[tokio::test]
async fn caller_cancelled_before_answer_ends_the_exchange() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let site = Site::before(&upstream).await;
    let caller = site.get("").await;
    upstream.settled(|stats| stats.requests == 1).await;
    leaves(caller, &site, &upstream).await;
}

#[tokio::test]
async fn caller_cancelled_in_upload_breaks_it_off() {
    let upstream = Upstream::start(|_| Reply::ok("all of it")).await;
    let site = Site::before(&upstream).await;
    let caller = site
        .call(format!("{POST}content-length: 9\r\n\r\nhello"))
        .await;
    upstream.settled(|stats| stats.requests == 1).await;
    leaves(caller, &site, &upstream).await;
    assert!(!upstream.requests()[0].body_complete);
}

#[tokio::test]
async fn caller_cancelled_in_queue_sends_no_request() {
    let gate = Gate::new();
    let upstream = {
        let gate = gate.clone();
        Upstream::start(move |_| Reply::ok("ok").when(&gate)).await
    };
    let one = Client::builder().max_connections_per_origin(1);
    let site = Site::with(upstream.uri("/"), one, DEADLINE).await;
    let mut first = site.get("").await;
    gate.reached(1).await;
    let second = site.get("").await;
    site.queued(1).await;
    drop(second);
    site.queued(0).await;
    gate.open();
    assert_eq!(first.head().await.status(), 200);
    site.idles().await;
    assert_eq!(upstream.requests().len(), 1);
}

async fn leaves(caller: Caller, site: &Site, upstream: &Upstream) {
    assert_eq!(upstream.live(), 1);
    drop(caller);
    upstream.settled(|stats| stats.live == 0).await;
    site.idles().await;
}
