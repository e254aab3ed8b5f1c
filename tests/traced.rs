//! A client traces what happens without being asked, and nothing that is nobody's business: paths,
//! queries, user names, passwords and headers stay where they are, whoever speaks.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../crates/keep-alive/tests/spans/listener.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod listener;
mod site;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty};
use listener::Spans;
use site::Site;
use tollgate::Error;
use tollgate_core::error::chain;
use tollgate_testing::{DEADLINE, within};

const SECRET: &str = "hunter2";

impl Site {
    /// A request that is secret all over.
    async fn call(&self, host: &str) -> Result<Bytes, Error> {
        let to = format!("{host}:{}", self.server.addr().port());
        let request = Request::get(format!(
            "https://user:{SECRET}@{to}/{SECRET}?token={SECRET}"
        ))
        .header("authorization", SECRET)
        .header("x-key", SECRET)
        .body(Empty::<Bytes>::new());
        let response = self.client.request(request.unwrap()).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

/// One that is served, one that waits, one that is refused, a name that is not there, and one whose
/// certificate is another's. Returns what failed.
async fn live() -> Vec<Error> {
    let site = Site::start(|client| client).await;
    let three = join_all((0..3).map(|_| site.call("billing.internal"))).await;
    let mut calls: Vec<_> = three.into_iter().collect();
    for host in ["gone.internal", "mallory.internal"] {
        calls.push(site.call(host).await);
    }
    site.client.close_idle();
    let idle = || {
        site.client
            .snapshot()
            .origins
            .iter()
            .all(|one| one.open == 0)
    };
    tollgate_testing::eventually(idle).await;
    calls.into_iter().filter_map(Result::err).collect()
}

#[test]
fn a_client_traces_what_happens_and_no_secret() {
    let spans = Spans::default();
    let failed = spans.of(within(DEADLINE, live()));
    let events = spans.events();
    for (target, message) in [
        ("tollgate::queue", "request waits"),
        ("tollgate::queue", "request refused"),
        ("tollgate::connect", "connection opened"),
        ("tollgate::connect", "dial failed"),
        ("tollgate::pool", "connection closed"),
        ("tollgate::pool", "limit changed"),
        ("tollgate::dns", "resolver answered"),
        ("tollgate::dns", "resolver failed"),
    ] {
        let said =
            |(by, fields): &&listener::EventRecord| *by == target && fields["message"] == message;
        let times = events.iter().filter(said).count();
        assert!(times > 0, "{target}: {message} in {events:#?}");
    }
    assert_eq!(failed.len(), 3, "{failed:#?}");
    let mut told = format!("{:?} {events:?}", spans.all());
    for error in &failed {
        let chain: Vec<_> = chain(error)
            .map(|each| format!("{each} {each:?}"))
            .collect();
        told.extend([error.to_string(), format!("{error:?} {chain:?}")]);
    }
    assert!(!told.contains(SECRET), "{told}");
}
