//! What an observer hears.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};

use common::{Script, arrived, assert_idle, get, ms, over_mock, start};
use http::Response;
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tollgate_core::{Event, Observer};
use tollgate_pool_limit::{PoolLimitHandle, PoolLimitLayer};
use tower::Service;

const A: &str = "http://a.test";

/// Writes down what it hears, one line an event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Log {
    fn on_event(&self, event: &Event<'_>) {
        let mut log = self.0.lock().unwrap();
        match event {
            Event::Queued { origin, ahead } => writeln!(log, "queued {origin} ahead={ahead}"),
            Event::Granted { origin, waited, .. } => writeln!(log, "granted {origin} {waited:?}"),
            Event::Refused {
                origin,
                reason,
                waited,
            } => {
                writeln!(log, "refused {origin} {} {waited:?}", reason.label())
            }
            Event::Released { origin, held } => writeln!(log, "released {origin} {held:?}"),
            other => writeln!(log, "{other:?}"),
        }
        .unwrap();
    }
}

fn observed(log: &Log) -> PoolLimitLayer {
    PoolLimitLayer::per_origin(1)
        .unwrap()
        .max_waiting(2)
        .acquire_timeout(ms(100))
        .observer(log.clone())
}

#[tokio::test(start_paused = true)]
async fn an_observer_hears_of_each_request_from_its_queue_to_its_release() {
    let log = Log::default();
    let (mut service, mut peer) = over_mock(observed(&log));
    let mut first = start(&mut service, A);
    assert_eq!(log.take(), "granted http://a.test 0ns\n");

    let mut second = start(&mut service, A);
    let third = start(&mut service, A);
    assert_eq!(
        log.take(),
        "queued http://a.test ahead=0\nqueued http://a.test ahead=1\n"
    );
    assert_ready_err!(task::spawn(service.call(get(A))).poll());
    assert_eq!(log.take(), "refused http://a.test full 0ns\n");

    advance(ms(30)).await;
    drop(third);
    assert_eq!(log.take(), "refused http://a.test cancelled 30ms\n");

    arrived(&mut peer)
        .unwrap()
        .send_response(Response::new(Script::chunked(&["x"])));
    let response = assert_ready_ok!(first.poll());
    assert_eq!(log.take(), "");
    drop(response);
    assert_eq!(log.take(), "released http://a.test 30ms\n");
    assert_pending!(second.poll());
    assert_eq!(log.take(), "granted http://a.test 30ms\n");

    let mut late = start(&mut service, A);
    advance(ms(100)).await;
    assert_ready_err!(late.poll());
    assert_eq!(
        log.take(),
        "queued http://a.test ahead=0\nrefused http://a.test timeout 100ms\n"
    );
    drop((second, late));
    assert_eq!(log.take(), "released http://a.test 100ms\n");
    assert_idle(&service.handle().total());
}

#[tokio::test(start_paused = true)]
async fn a_wait_too_short_for_the_clock_is_told_from_none() {
    let log = Log::default();
    let (mut service, _peer) = over_mock(observed(&log));
    let first = start(&mut service, A);
    let mut second = start(&mut service, A);
    drop(first);
    assert_pending!(second.poll());
    assert!(log.take().ends_with("granted http://a.test 1ns\n"));
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_nobody_collects_is_a_cancelled_request() {
    let log = Log::default();
    let (mut service, _peer) = over_mock(observed(&log));
    let first = start(&mut service, A);
    let reserved = start(&mut service, A);
    drop(first);
    log.take();
    drop(reserved);
    assert_eq!(log.take(), "refused http://a.test cancelled 1ns\n");
}

#[tokio::test(start_paused = true)]
async fn requests_without_an_origin_are_reported_as_such() {
    let log = Log::default();
    let (mut service, _peer) = over_mock(observed(&log));
    drop(start(&mut service, "/only/a/path"));
    assert_eq!(
        log.take(),
        "granted unknown://unknown 0ns\nreleased unknown://unknown 0ns\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_limit_for_the_whole_service_reports_the_origins_of_the_requests() {
    let log = Log::default();
    let layer = PoolLimitLayer::whole_service(1)
        .unwrap()
        .observer(log.clone());
    let (mut service, _peer) = over_mock(layer);
    drop(start(&mut service, "http://b.test/x"));
    assert_eq!(
        log.take(),
        "granted http://b.test 0ns\nreleased http://b.test 0ns\n"
    );
}

/// An observer that asks the limit about itself: under a lock it would never return.
#[tokio::test(start_paused = true)]
async fn an_observer_may_look_at_the_limit() {
    #[derive(Clone, Default)]
    struct Nosy(Arc<OnceLock<PoolLimitHandle>>, Arc<Mutex<Vec<usize>>>);
    impl Observer for Nosy {
        fn on_event(&self, _: &Event<'_>) {
            if let Some(handle) = self.0.get() {
                self.1.lock().unwrap().push(handle.total().in_flight);
            }
        }
    }
    let nosy = Nosy::default();
    let layer = PoolLimitLayer::per_origin(1)
        .unwrap()
        .observer(nosy.clone());
    let (mut service, _peer) = over_mock(layer);
    nosy.0.set(service.handle()).unwrap();
    let first = start(&mut service, A);
    drop(start(&mut service, A));
    drop(first);
    assert_eq!(*nosy.1.lock().unwrap(), [1, 1, 1, 0]);
}

/// Panics at every event of one kind.
struct Panics(&'static str);

impl Observer for Panics {
    fn on_event(&self, event: &Event<'_>) {
        let text = format!("{event:?}");
        assert!(!text.starts_with(self.0), "the observer");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_leaves_no_place_taken() {
    for kind in ["", "Queued", "Granted", "Refused", "Released"] {
        let layer = PoolLimitLayer::per_origin(1).unwrap().max_waiting(1);
        let (service, _peer) = over_mock(layer.observer(Panics(kind)));
        let call = || {
            let mut service = service.clone();
            catch_unwind(AssertUnwindSafe(|| start(&mut service, A)))
        };
        let quietly = |drops: Box<dyn FnOnce() + '_>| drop(catch_unwind(AssertUnwindSafe(drops)));
        for _ in 0..3 {
            // One in flight, one that waits, one that is refused; the one that waits goes away,
            // another takes its turn.
            let (first, second, third) = (call(), call(), call());
            quietly(Box::new(|| drop(third)));
            quietly(Box::new(|| drop(second)));
            let next = call();
            quietly(Box::new(|| drop(first)));
            quietly(Box::new(|| drop(next)));
            assert_idle(&service.handle().total());
        }
    }
}
