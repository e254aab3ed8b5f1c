//! How long a request holds its place, beside tower's `ConcurrencyLimit`.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use bytes::Bytes;
use common::{Handle, Mock, Script, arrived, assert_idle, over_mock, start};
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tollgate_pool_limit::{PoolLimit, PoolLimitBody, PoolLimitLayer};
use tower::Layer;
use tower::limit::ConcurrencyLimitLayer;

const A: &str = "http://a.test";

/// A limit of 1 with one response, whose body is `script`.
fn answered(script: Script) -> (PoolLimit<Mock>, Response<PoolLimitBody<Script>>, Handle) {
    let (mut service, mut peer) = over_mock(PoolLimitLayer::per_origin(1).unwrap());
    let mut call = start(&mut service, A);
    arrived(&mut peer)
        .unwrap()
        .send_response(Response::new(script));
    let response = assert_ready_ok!(call.poll());
    (service, response, peer)
}

fn in_flight(service: &PoolLimit<Mock>) -> usize {
    service.handle().total().in_flight
}

async fn next_frame(response: &mut Response<PoolLimitBody<Script>>) -> Option<Frame<Bytes>> {
    response.body_mut().frame().await.transpose().unwrap()
}

#[tokio::test]
async fn an_empty_body_frees_the_place_at_head() {
    let (service, response, _peer) = answered(Script::empty());
    assert_eq!(in_flight(&service), 0);
    assert!(!response.body().holds_place());
}

#[tokio::test]
async fn the_last_sized_frame_frees_the_place() {
    let (service, mut response, _peer) = answered(Script::sized(&["a", "b"]));
    next_frame(&mut response).await;
    assert_eq!(in_flight(&service), 1);
    next_frame(&mut response).await;
    assert_eq!(in_flight(&service), 0);
}

#[tokio::test]
async fn a_chunked_body_frees_the_place_at_end() {
    let (service, mut response, _peer) = answered(Script::chunked(&["a"]));
    next_frame(&mut response).await;
    assert_eq!(in_flight(&service), 1);
    assert!(next_frame(&mut response).await.is_none());
    assert_eq!(in_flight(&service), 0);
}

#[tokio::test]
async fn trailers_pass_and_free_the_place() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let script = Script::sized(&["a"]).then(Ok(Frame::trailers(trailers.clone())));
    let (service, mut response, _peer) = answered(script);
    next_frame(&mut response).await;
    assert_eq!(in_flight(&service), 1);
    let frame = next_frame(&mut response).await.unwrap();
    assert_eq!(frame.into_trailers().unwrap(), trailers);
    assert_eq!(in_flight(&service), 0);
}

#[tokio::test]
async fn a_body_that_fails_frees_the_place() {
    let (service, response, _peer) = answered(Script::default().then(Err("reset".into())));
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(in_flight(&service), 0);
}

#[tokio::test]
async fn dropping_a_body_frees_its_place_and_wakes() {
    let (mut service, response, _peer) = answered(Script::stalled());
    let mut waiting = start(&mut service, A);
    let mut body = task::spawn(response.into_body());
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    assert!(!waiting.is_woken());
    drop(body);
    assert!(waiting.is_woken());
    assert_pending!(waiting.poll());
    drop(waiting);
    assert_idle(&service.handle().total());
}

#[tokio::test]
async fn an_unread_body_holds_the_place() {
    let (mut service, _response, _peer) = answered(Script::chunked(&["a"]));
    let waiting = start(&mut service, A);
    assert!(!waiting.is_woken());
    assert_eq!(service.handle().total().queued, 1);
}

#[tokio::test]
async fn taking_the_body_out_frees_the_place() {
    let (service, response, _peer) = answered(Script::chunked(&["a"]));
    let inner = response.into_body().into_inner();
    assert_eq!(in_flight(&service), 0);
    assert_eq!(inner.collect().await.unwrap().to_bytes(), "a");
}

#[tokio::test]
async fn size_hint_and_end_are_the_inner_bodys() {
    let (_service, response, _peer) = answered(Script::sized(&["abc", "de"]));
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert!(!response.body().is_end_stream());
    assert_eq!(response.body().get_ref().size_hint().exact(), Some(5));
    assert_eq!(response.collect().await.unwrap().to_bytes(), "abcde");
}

#[tokio::test]
async fn release_at_head_frees_despite_an_unread_body() {
    let layer = PoolLimitLayer::per_origin(1).unwrap().release_at_head();
    let (mut service, mut peer) = over_mock(layer);
    let mut call = start(&mut service, A);
    arrived(&mut peer)
        .unwrap()
        .send_response(Response::new(Script::stalled()));
    let _response: Response<Script> = assert_ready_ok!(call.poll());
    assert_eq!(service.handle().total().in_flight, 0);
}

/// tower lets go at the head, so two unread bodies are open under a limit of 1.
#[tokio::test]
async fn unlike_tower_the_body_holds_the_permit() {
    let (mut twin, mut peer) = over_mock(ConcurrencyLimitLayer::new(1));
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let mut call = start(&mut twin, A);
        arrived(&mut peer)
            .unwrap()
            .send_response(Response::new(Script::stalled()));
        bodies.push(assert_ready_ok!(call.poll()));
    }
    assert_eq!(bodies.len(), 2);

    let (mut service, response, _peer) = answered(Script::stalled());
    let mut second = start(&mut service, A);
    assert_pending!(second.poll());
    drop(response);
    assert!(second.is_woken());
}

/// With `release_at_head` and a limit for the whole service, the two agree step by step.
#[tokio::test]
async fn release_at_head_admits_as_tower_does() {
    let ours = PoolLimitLayer::whole_service(2).unwrap().release_at_head();
    assert_eq!(admitted(&ours), admitted(&ConcurrencyLimitLayer::new(2)));
}

/// How many requests have reached the peer after each of: 4 calls, 1 answer, 1 dropped call.
fn admitted<L>(layer: &L) -> Vec<usize>
where
    L: Layer<Mock>,
    L::Service: tower::Service<common::Req, Response = Response<Script>> + Clone,
    <L::Service as tower::Service<common::Req>>::Error: std::fmt::Debug,
{
    use tower::ServiceExt;
    let (service, mut peer) = over_mock(layer);
    let mut calls: Vec<_> = (0..4)
        .map(|_| task::spawn(service.clone().oneshot(common::get(A))))
        .collect();
    let mut reached = Vec::new();
    let mut log = Vec::new();
    for step in 0..3 {
        match step {
            0 => {}
            1 => {
                let respond: tower_test::mock::SendResponse<_> = reached.remove(0);
                respond.send_response(Response::new(Script::stalled()));
            }
            _ => drop(calls.remove(1)),
        }
        calls.retain_mut(|call| !call.poll().is_ready());
        let before = reached.len();
        reached.extend(std::iter::from_fn(|| arrived(&mut peer)));
        log.push(reached.len() - before);
    }
    log
}

#[test]
fn a_stalled_script_is_pending() {
    let mut body = task::spawn(Script::stalled());
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    let mut body = task::spawn(Script::chunked(&[]));
    assert!(assert_ready!(body.enter(|cx, body| body.poll_frame(cx))).is_none());
}
