//! What an observer hears.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::sync::{Arc, OnceLock};

use common::{Script, arrived, assert_idle, get, ms, over_mock, start};
use futures_util::FutureExt;
use http::Response;
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tollgate_core::Event;
use tollgate_pool_limit::{PoolLimitHandle, PoolLimitLayer};
use tollgate_testing::Recorder;
use tower::Service;

const A: &str = "http://a.test";

/// Writes down one line an event.
fn log() -> Arc<Recorder<String>> {
    Recorder::new(|event| {
        Some(match event {
            Event::Queued { origin, ahead } => format!("queued {origin} ahead={ahead}\n"),
            Event::Granted { origin, waited, .. } => format!("granted {origin} {waited:?}\n"),
            Event::Refused {
                origin,
                reason,
                waited,
                ..
            } => format!("refused {origin} {} {waited:?}\n", reason.label()),
            Event::Released { origin, held, .. } => format!("released {origin} {held:?}\n"),
            other => format!("{other:?}\n"),
        })
    })
}

fn observed(log: &Arc<Recorder<String>>) -> PoolLimitLayer {
    PoolLimitLayer::per_origin(1)
        .unwrap()
        .max_waiting(2)
        .acquire_timeout(ms(100))
        .observer(log.clone())
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_requests_from_queue_to_release() {
    let log = log();
    let (mut service, mut peer) = over_mock(observed(&log));
    let mut first = start(&mut service, A);
    assert_eq!(log.take().concat(), "granted http://a.test 0ns\n");

    let mut second = start(&mut service, A);
    let third = start(&mut service, A);
    assert_eq!(
        log.take().concat(),
        "queued http://a.test ahead=0\nqueued http://a.test ahead=1\n"
    );
    assert_ready_err!(task::spawn(service.call(get(A))).poll());
    assert_eq!(
        log.take().concat(),
        "refused http://a.test queue_full 0ns\n"
    );

    advance(ms(30)).await;
    drop(third);
    assert_eq!(
        log.take().concat(),
        "refused http://a.test abandoned 30ms\n"
    );

    arrived(&mut peer)
        .unwrap()
        .send_response(Response::new(Script::chunked(&["x"])));
    let response = assert_ready_ok!(first.poll());
    assert_eq!(log.take().concat(), "");
    drop(response);
    assert_eq!(log.take().concat(), "released http://a.test 30ms\n");
    assert_pending!(second.poll());
    assert_eq!(log.take().concat(), "granted http://a.test 30ms\n");

    let mut late = start(&mut service, A);
    advance(ms(100)).await;
    assert_ready_err!(late.poll());
    assert_eq!(
        log.take().concat(),
        "queued http://a.test ahead=0\nrefused http://a.test queue_timeout 100ms\n"
    );
    drop((second, late));
    assert_eq!(log.take().concat(), "released http://a.test 100ms\n");
    assert_idle(&service.handle().total());
}

#[tokio::test(start_paused = true)]
async fn a_wait_below_clock_resolution_reports_one_ns() {
    let log = log();
    let (mut service, _peer) = over_mock(observed(&log));
    let first = start(&mut service, A);
    let mut second = start(&mut service, A);
    drop(first);
    assert_pending!(second.poll());
    assert!(log.take().concat().ends_with("granted http://a.test 1ns\n"));
}

#[tokio::test(start_paused = true)]
async fn an_uncollected_reservation_counts_as_cancelled() {
    let log = log();
    let (mut service, _peer) = over_mock(observed(&log));
    let first = start(&mut service, A);
    let reserved = start(&mut service, A);
    drop(first);
    log.take();
    drop(reserved);
    assert_eq!(log.take().concat(), "refused http://a.test cancelled 1ns\n");
}

#[tokio::test(start_paused = true)]
async fn requests_without_an_origin_are_reported_as_such() {
    let log = log();
    let (mut service, _peer) = over_mock(observed(&log));
    drop(start(&mut service, "/only/a/path"));
    assert_eq!(
        log.take().concat(),
        "granted unknown://unknown 0ns\nreleased unknown://unknown 0ns\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_whole_service_limit_reports_request_origins() {
    let log = log();
    let layer = PoolLimitLayer::whole_service(1)
        .unwrap()
        .observer(log.clone());
    let (mut service, _peer) = over_mock(layer);
    drop(start(&mut service, "http://b.test/x"));
    assert_eq!(
        log.take().concat(),
        "granted http://b.test 0ns\nreleased http://b.test 0ns\n"
    );
}

/// An observer that asks the limit about itself: under a lock it would never return.
#[tokio::test(start_paused = true)]
async fn an_observer_may_look_at_the_limit() {
    let handle = Arc::new(OnceLock::<PoolLimitHandle>::new());
    let inside = handle.clone();
    let looks = Recorder::new(move |_| Some(inside.get()?.total().in_flight));
    let layer = PoolLimitLayer::per_origin(1)
        .unwrap()
        .observer(looks.clone());
    let (mut service, _peer) = over_mock(layer);
    handle.set(service.handle()).unwrap();
    let first = start(&mut service, A);
    drop(start(&mut service, A));
    drop(first);
    assert_eq!(looks.take(), [1, 1, 1, 0]);
}

/// Panics at every event of one kind.
fn panicking(kind: &'static str) -> Arc<Recorder<()>> {
    Recorder::new(move |event| {
        assert!(!format!("{event:?}").starts_with(kind), "the observer");
        None
    })
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_breaks_no_call() {
    for kind in ["", "Queued", "Granted", "Refused", "Released"] {
        let layer = PoolLimitLayer::per_origin(1).unwrap().max_waiting(1);
        let (service, _peer) = over_mock(layer.observer(panicking(kind)));
        let call = || start(&mut service.clone(), A);
        for _ in 0..3 {
            // One in flight, one that waits, one that is refused; the one that waits goes away,
            // another takes its turn.
            let (first, second) = (call(), call());
            let refused = service.clone().call(get(A)).now_or_never().unwrap();
            assert!(refused.is_err());
            drop(second);
            let next = call();
            drop(first);
            drop(next);
            assert_idle(&service.handle().total());
        }
    }
}
