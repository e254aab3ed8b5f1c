//! The layer against a scripted connector, with the clock paused.

use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tollgate_connect_timeout::{
    ConnectTimedOut, ConnectTimeout, ConnectTimeoutFuture, ConnectTimeoutLayer,
};
use tollgate_core::{Attempt, AttemptOutcome, BoxError, ConnectErrorKind, Phase, PhaseSlot, phase};
use tower::{Service, ServiceExt, service_fn};
use tower_test::mock;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn timed_out(error: &BoxError) -> &ConnectTimedOut {
    error.downcast_ref().expect("a ConnectTimedOut")
}

/// Phases, and the milliseconds to stay in each.
type Stages = &'static [(Phase, u64)];

/// Enters each phase in turn and stays as long as it says, then is connected.
async fn staged(stages: Stages) -> Result<&'static str, BoxError> {
    for &(phase, stay) in stages {
        phase::enter(phase);
        sleep(ms(stay)).await;
    }
    Ok("connected")
}

fn with_phase_limits() -> ConnectTimeoutLayer {
    ConnectTimeoutLayer::new(ms(5000))
        .dns(ms(200))
        .tcp(ms(300))
        .tls(ms(400))
}

async fn connect(
    layer: ConnectTimeoutLayer,
    stages: Stages,
) -> (Result<&'static str, BoxError>, Duration) {
    let started = Instant::now();
    let service = tower::Layer::layer(&layer, service_fn(|()| staged(stages)));
    let result = service.oneshot(()).await;
    (result, started.elapsed())
}

#[test]
fn everything_is_send_sync_and_clone() {
    fn all<T: Send + Sync + Clone + 'static>() {}
    fn send<T: Send + Sync + 'static>() {}
    all::<ConnectTimeoutLayer>();
    all::<ConnectTimeout<()>>();
    send::<ConnectTimeoutFuture<std::future::Ready<()>>>();
    send::<ConnectTimedOut>();
}

#[tokio::test(start_paused = true)]
async fn the_budget_ends_on_its_millisecond_and_wakes() {
    let (mut service, mut handle) =
        mock::spawn_layer::<(), (), _>(ConnectTimeoutLayer::new(ms(1000)));
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut connect = task::spawn(service.call(()));
    assert_pending!(connect.poll());
    advance(ms(999)).await;
    assert!(!connect.is_woken());
    assert_pending!(connect.poll());
    advance(ms(1)).await;
    assert!(connect.is_woken());
    let error = assert_ready_err!(connect.poll());
    let error = timed_out(&error);
    assert_eq!(
        (error.elapsed(), error.limit(), error.total()),
        (ms(1000), ms(1000), ms(1000))
    );
    assert_eq!(error.phase(), Phase::Connect);
    assert!(!error.is_phase_limit());
    assert!(error.attempts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_phase_limit_ends_on_its_millisecond() {
    let cases: [(Stages, Phase, u64, u64); 3] = [
        (&[(Phase::Dns, 9999)], Phase::Dns, 200, 200),
        (
            &[(Phase::Dns, 199), (Phase::Tcp, 9999)],
            Phase::Tcp,
            300,
            499,
        ),
        (
            &[(Phase::Dns, 199), (Phase::Tcp, 299), (Phase::Tls, 9999)],
            Phase::Tls,
            400,
            898,
        ),
    ];
    for (stages, phase, limit, after) in cases {
        let (result, took) = connect(with_phase_limits(), stages).await;
        let error = result.unwrap_err();
        let error = timed_out(&error);
        assert_eq!((error.phase(), error.limit()), (phase, ms(limit)));
        assert_eq!((error.elapsed(), took), (ms(after), ms(after)));
        assert!(error.is_phase_limit());
        assert_eq!(error.total(), ms(5000));
    }
}

#[tokio::test(start_paused = true)]
async fn phases_within_their_limits_connect() {
    let stages = &[(Phase::Dns, 199), (Phase::Tcp, 299), (Phase::Tls, 399)];
    let (result, took) = connect(with_phase_limits(), stages).await;
    assert_eq!((result.unwrap(), took), ("connected", ms(897)));
}

#[tokio::test(start_paused = true)]
async fn the_budget_covers_all_phases_together() {
    let layer = ConnectTimeoutLayer::new(ms(500)).tls(ms(400));
    let stages = &[(Phase::Dns, 150), (Phase::Tcp, 150), (Phase::Tls, 399)];
    let (result, took) = connect(layer, stages).await;
    let error = result.unwrap_err();
    let error = timed_out(&error);
    assert_eq!(
        (error.phase(), error.limit(), took),
        (Phase::Tls, ms(500), ms(500))
    );
    assert!(!error.is_phase_limit());
}

#[tokio::test(start_paused = true)]
async fn a_tie_names_budget_over_phase_limit() {
    let layer = ConnectTimeoutLayer::new(ms(500)).tcp(ms(500));
    let (result, _) = connect(layer, &[(Phase::Tcp, 9999)]).await;
    assert!(!timed_out(&result.unwrap_err()).is_phase_limit());
}

#[tokio::test(start_paused = true)]
async fn reentering_a_phase_restarts_its_limit() {
    let stages = &[(Phase::Tcp, 250), (Phase::Tls, 10), (Phase::Tcp, 250)];
    let (result, _) = connect(with_phase_limits(), stages).await;
    assert_eq!(result.unwrap(), "connected");
}

#[tokio::test(start_paused = true)]
async fn without_phase_reports_only_the_budget_counts() {
    let layer = with_phase_limits();
    let service = tower::Layer::layer(
        &layer,
        service_fn(|()| async {
            sleep(ms(4999)).await;
            Ok::<_, BoxError>(())
        }),
    );
    service.oneshot(()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_ready_answer_wins_the_deadline_tie() {
    let (mut service, mut handle) =
        mock::spawn_layer::<(), _, _>(ConnectTimeoutLayer::new(ms(1000)));
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut connect = task::spawn(service.call(()));
    assert_pending!(connect.poll());
    let ((), respond) = assert_ready!(task::spawn(handle.next_request()).poll()).unwrap();
    advance(ms(5000)).await;
    respond.send_response("late, but here");
    assert_eq!(assert_ready_ok!(connect.poll()), "late, but here");
}

#[tokio::test(start_paused = true)]
async fn a_connector_error_wins_the_tie_unwrapped() {
    let layer = ConnectTimeoutLayer::new(ms(100));
    let service = tower::Layer::layer(
        &layer,
        service_fn(|()| async {
            sleep(ms(100)).await;
            Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused))
        }),
    );
    let error = service.oneshot(()).await.unwrap_err();
    let error = error
        .downcast_ref::<io::Error>()
        .expect("the connector's own error");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn a_zero_budget_admits_only_ready_answers() {
    let layer = ConnectTimeoutLayer::new(Duration::ZERO);
    let ready = tower::Layer::layer(&layer, service_fn(|()| async { Ok::<_, BoxError>(1) }));
    assert_eq!(ready.oneshot(()).await.unwrap(), 1);
    let (result, took) = connect(layer, &[(Phase::Dns, 1)]).await;
    assert_eq!(
        (timed_out(&result.unwrap_err()).limit(), took),
        (Duration::ZERO, Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn the_longest_duration_is_no_overflow() {
    let layer = ConnectTimeoutLayer::new(Duration::MAX).tcp(Duration::MAX);
    let (result, _) = connect(layer, &[(Phase::Tcp, 60_000)]).await;
    assert_eq!(result.unwrap(), "connected");
}

#[tokio::test(start_paused = true)]
async fn the_clock_starts_at_the_first_poll() {
    let mut service = ConnectTimeout::new(service_fn(|()| staged(&[(Phase::Tcp, 90)])), ms(100));
    let call = service.call(());
    sleep(ms(10_000)).await;
    assert_eq!(call.await.unwrap(), "connected");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_readiness_is_not_counted() {
    let (mut service, mut handle) =
        mock::spawn_layer::<(), (), _>(ConnectTimeoutLayer::new(ms(100)));
    handle.allow(0);
    assert_pending!(service.poll_ready());
    advance(ms(10_000)).await;
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());
    let mut connect = task::spawn(service.call(()));
    assert_pending!(connect.poll());
    advance(ms(99)).await;
    assert_pending!(connect.poll());
}

#[test]
fn an_unpolled_call_needs_no_runtime() {
    let mut service = ConnectTimeout::new(service_fn(|()| staged(&[])), ms(100));
    drop(service.call(()));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_call_drops_the_connect() {
    let (held, watch) = (Arc::new(()), Mutex::new(std::sync::Weak::new()));
    *watch.lock().unwrap() = Arc::downgrade(&held);
    let held = Mutex::new(Some(held));
    let mut service = ConnectTimeout::new(
        service_fn(|()| {
            let held = held.lock().unwrap().take();
            async move {
                pending::<()>().await;
                drop(held);
                Ok::<_, BoxError>(())
            }
        }),
        ms(100),
    );
    let mut connect = task::spawn(service.call(()));
    assert_pending!(connect.poll());
    drop(connect);
    assert!(watch.lock().unwrap().upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_timeout_error_names_attempts_and_advice() {
    let [a, b] = [1, 2].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
    let dial = service_fn(|()| async move {
        phase::enter(Phase::Tcp);
        phase::start_attempt(a, Duration::ZERO);
        sleep(ms(20)).await;
        phase::end_attempt(a, AttemptOutcome::Failed(ConnectErrorKind::Refused));
        phase::start_attempt(b, ms(20));
        pending::<Result<(), BoxError>>().await
    });
    let layer = ConnectTimeoutLayer::new(ms(2000)).tcp(ms(1500));
    let error = tower::Layer::layer(&layer, dial)
        .oneshot(())
        .await
        .unwrap_err();
    let refused = AttemptOutcome::Failed(ConnectErrorKind::Refused);
    let attempts = [
        Attempt::started(a, Duration::ZERO).ended(refused),
        Attempt::started(b, ms(20)),
    ];
    assert_eq!(timed_out(&error).attempts(), attempts);
    assert_eq!(
        error.to_string(),
        "connect timed out after 1.5s in phase tcp, which may take 1.5s (budget 2s); \
         tried 192.0.2.1:1: connection refused, 192.0.2.1:2 after 20ms: no answer; \
         check the address and whether a firewall drops its packets, or raise the limit of the phase"
    );
}

#[tokio::test(start_paused = true)]
async fn each_phase_has_its_own_advice() {
    for (stages, text) in [
        (
            &[(Phase::Dns, 9999)][..],
            "connect timed out after 100ms in phase dns, the budget of the whole connect being \
             100ms; check the name servers, or raise the connect timeout",
        ),
        (
            &[(Phase::Tls, 9999)],
            "connect timed out after 100ms in phase tls, the budget of the whole connect being \
             100ms; check that the port speaks TLS and that the peer is not overloaded, or raise \
             the connect timeout",
        ),
        (
            &[(Phase::Connect, 9999)],
            "connect timed out after 100ms, the budget of the whole connect being 100ms; check \
             what the connector waits for, or raise the connect timeout",
        ),
    ] {
        let (result, _) = connect(ConnectTimeoutLayer::new(ms(100)), stages).await;
        assert_eq!(result.unwrap_err().to_string(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn the_source_chain_ends_in_an_io_timeout() {
    let (result, _) = connect(ConnectTimeoutLayer::new(ms(1)), &[(Phase::Tcp, 9999)]).await;
    let error = result.unwrap_err();
    let last = tollgate_core::error::chain(&*error).last().unwrap();
    assert_eq!(
        last.downcast_ref::<io::Error>().unwrap().kind(),
        io::ErrorKind::TimedOut
    );
    assert_eq!(ConnectErrorKind::of(&*error), ConnectErrorKind::Timeout);
}

/// What the pool does to spend the rest of the budget on the HTTP/2 preface.
#[tokio::test(start_paused = true)]
async fn the_remaining_budget_reaches_the_layer_above() {
    let mut service = ConnectTimeout::new(service_fn(|()| staged(&[(Phase::Tcp, 300)])), ms(1000));
    let (slot, mut call) = (PhaseSlot::new(), Box::pin(service.call(())));
    poll_fn(|cx| phase::scope(&slot, || call.as_mut().poll(cx)))
        .await
        .unwrap();
    assert_eq!(slot.remaining(), Some(ms(700)));
    assert_eq!(slot.phase(), Phase::Tcp);
}

#[tokio::test(start_paused = true)]
async fn the_phase_slot_is_unset_between_polls() {
    let mut service = ConnectTimeout::new(service_fn(|()| staged(&[(Phase::Tcp, 300)])), ms(1000));
    let mut call = task::spawn(service.call(()));
    assert_pending!(call.poll());
    assert!(phase::current().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_shorter_of_nested_budgets_ends_the_connect() {
    let stages = &[(Phase::Dns, 10), (Phase::Tcp, 9999)];
    for (outer, inner) in [(100, 900), (900, 100)] {
        let inner = ConnectTimeout::new(service_fn(|()| staged(stages)), ms(inner));
        let error = ConnectTimeout::new(inner, ms(outer))
            .oneshot(())
            .await
            .unwrap_err();
        assert_eq!(
            (timed_out(&error).phase(), timed_out(&error).limit()),
            (Phase::Tcp, ms(100))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_connects_have_clocks_of_their_own() {
    let service = ConnectTimeout::new(
        service_fn(|stay| async move {
            sleep(ms(stay)).await;
            Ok::<_, BoxError>(stay)
        }),
        ms(100),
    );
    let (short, long) = (service.clone().oneshot(50), service.oneshot(150));
    let (short, long) = tokio::join!(short, long);
    assert_eq!(short.unwrap(), 50);
    assert_eq!(timed_out(&long.unwrap_err()).elapsed(), ms(100));
}

#[test]
fn the_inner_connector_can_be_reached() {
    let mut service = ConnectTimeout::new(1, ms(100));
    *service.get_mut() += 1;
    assert_eq!(*service.get_ref(), 2);
    assert_eq!(service.into_inner(), 2);
}
