//! Addresses that come after the resolver's first answer, under a paused clock.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use common::{Does, Mock, V4, layer, ms, name, v4, v6};
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::{Instant, advance, sleep};
use tollgate_core::{ConnectErrorKind, Phase, PhaseSlot, late, phase};
use tollgate_dial::{AddrPolicy, DialFailure, DialLayer};
use tollgate_testing::{DEADLINE, Refused, within};
use tower::{Layer, Service, ServiceExt, service_fn};

/// Has `first` at once and what follows later.
#[derive(Clone, Debug)]
struct Partial {
    first: Vec<SocketAddr>,
    /// The time for which the rest was waited for when `first` was given.
    waited: Duration,
    /// What follows when; never, if nothing.
    rest: Option<(Duration, Vec<SocketAddr>)>,
    /// Held by whatever waits for the rest.
    interest: Arc<()>,
}

impl Partial {
    fn new(first: &[SocketAddr]) -> Self {
        Self {
            first: first.to_vec(),
            waited: Duration::ZERO,
            rest: None,
            interest: Arc::default(),
        }
    }

    fn then(mut self, after: Duration, rest: &[SocketAddr]) -> Self {
        self.rest = Some((after, rest.to_vec()));
        self
    }

    fn waited(mut self, waited: Duration) -> Self {
        self.waited = waited;
        self
    }

    fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.interest) > 1
    }

    /// A resolver that says so. It has no interest of its own.
    fn resolver(
        &self,
    ) -> impl Service<
        Name,
        Response = Vec<SocketAddr>,
        Error = io::Error,
        Future: Future<Output = io::Result<Vec<SocketAddr>>> + Send,
    > + Clone {
        let (first, waited, rest) = (self.first.clone(), self.waited, self.rest.clone());
        let interest = Arc::downgrade(&self.interest);
        service_fn(move |_| {
            let (first, rest, interest) = (first.clone(), rest.clone(), interest.upgrade());
            async move {
                late::follow(waited, async move {
                    let Some((after, addrs)) = rest else {
                        return std::future::pending().await;
                    };
                    sleep(after).await;
                    drop(interest);
                    addrs
                });
                Ok(first)
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn ipv4_is_dialled_after_the_resolution_delay() {
    let mock = Mock::new([(v4(1), Does::CONNECTS)]);
    let partial = Partial::new(&[v4(1)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    let stream = dial.oneshot(name()).await.unwrap();
    assert_eq!(mock.starts(from), [(v4(1), 50)]);
    assert_eq!(from.elapsed(), ms(50));
    assert_eq!(stream.info().dns, Some(ms(50)));
    assert!(!partial.is_awaited(), "who has a connection waits for none");
}

#[tokio::test(start_paused = true)]
async fn ipv6_within_the_resolution_delay_goes_first() {
    let mock = Mock::new([(v4(1), Does::CONNECTS)]);
    let partial = Partial::new(&[v4(1), v4(2)]).then(ms(30), &[v6(1), v4(1), v4(2)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    dial.oneshot(name()).await.unwrap();
    assert_eq!(mock.starts(from), [(v6(1), 30), (v4(1), 280)]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_late_family_ends_the_resolution_delay() {
    let mock = Mock::new([(v4(1), Does::CONNECTS)]);
    let partial = Partial::new(&[v4(1)]).then(ms(20), &[]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    dial.oneshot(name()).await.unwrap();
    assert_eq!(mock.starts(from), [(v4(1), 20)]);
}

#[tokio::test(start_paused = true)]
async fn ipv6_waits_for_nobody() {
    let mock = Mock::new([(v6(1), Does::CONNECTS)]);
    let partial = Partial::new(&[v6(1)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    dial.oneshot(name()).await.unwrap();
    assert_eq!(mock.starts(from), [(v6(1), 0)]);
}

#[tokio::test(start_paused = true)]
async fn the_resolvers_wait_counts_towards_resolution_delay() {
    for (waited, delay, due) in [(50, 50, 0), (20, 50, 30), (0, 0, 0), (50, 200, 150)] {
        let mock = Mock::new([(v4(1), Does::CONNECTS)]);
        let partial = Partial::new(&[v4(1)]).waited(ms(waited));
        let from = Instant::now();
        let dial = layer(&mock).resolution_delay(ms(delay));
        let dial = dial.layer(partial.resolver());
        dial.oneshot(name()).await.unwrap();
        assert_eq!(
            mock.starts(from),
            [(v4(1), due)],
            "{waited} ms of {delay} ms"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn late_addresses_join_the_races_tail_once() {
    let mock = Mock::new([(v6(1), Does::CONNECTS)]);
    let partial = Partial::new(&[v4(1), v4(2)]).then(ms(100), &[v6(1), v4(1), v4(2)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    let stream = dial.oneshot(name()).await.unwrap();
    let expected = [(v4(1), 50), (v4(2), 300), (v6(1), 550)];
    assert_eq!(mock.starts(from), expected);
    assert_eq!(stream.info().attempts.len(), 3);
    assert_eq!(stream.info().dns, Some(ms(50)));
}

#[tokio::test(start_paused = true)]
async fn late_addresses_start_one_attempt_delay_later() {
    let mock = Mock::new([(v6(1), Does::CONNECTS)]);
    let partial = Partial::new(&[v4(1)]).then(ms(100), &[v6(1)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    dial.oneshot(name()).await.unwrap();
    assert_eq!(mock.starts(from), [(v4(1), 50), (v6(1), 300)]);
}

#[tokio::test(start_paused = true)]
async fn the_late_family_wins_after_all_attempts_failed() {
    let mock = Mock::new([(v4(1), Does::REFUSES), (v6(1), Does::CONNECTS)]);
    let partial = Partial::new(&[v4(1)]).then(ms(200), &[v6(1)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    let stream = dial.oneshot(name()).await.unwrap();
    assert_eq!(mock.starts(from), [(v4(1), 50), (v6(1), 200)]);
    assert_eq!(stream.info().remote, Some(v6(1)));
    assert_eq!(from.elapsed(), ms(200));
}

#[tokio::test(start_paused = true)]
async fn late_addresses_keep_ten_ms_between_two_starts() {
    let mock = Mock::new([(v4(1), Does::REFUSES), (v6(1), Does::CONNECTS)]);
    let partial = Partial::new(&[v4(1)]).then(ms(53), &[v6(1)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    dial.oneshot(name()).await.unwrap();
    assert_eq!(mock.starts(from), [(v4(1), 50), (v6(1), 60)]);
}

#[tokio::test(start_paused = true)]
async fn when_the_late_family_fails_both_are_named() {
    let mock = Mock::new([(v4(1), Does::REFUSES), (v6(1), Does::REFUSES)]);
    let partial = Partial::new(&[v4(1)]).then(ms(200), &[v6(1)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    let error = dial.oneshot(name()).await.unwrap_err();
    assert_eq!(from.elapsed(), ms(200));
    assert_eq!(error.failure(), DialFailure::AllFailed);
    assert_eq!(error.kind(), ConnectErrorKind::Refused);
    let tried: Vec<_> = error.failures().map(|(addr, _)| addr).collect();
    assert_eq!(tried, [v4(1), v6(1)]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_late_family_ends_the_dial() {
    let mock = Mock::new([(v4(1), Does::REFUSES)]);
    let partial = Partial::new(&[v4(1)]).then(ms(200), &[]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    let error = dial.oneshot(name()).await.unwrap_err();
    assert_eq!(from.elapsed(), ms(200));
    assert_eq!(error.failure(), DialFailure::AllFailed);
}

#[tokio::test(start_paused = true)]
async fn a_missing_family_is_awaited_until_the_deadline() {
    let mock = Mock::new([(v4(1), Does::REFUSES)]);
    let partial = Partial::new(&[v4(1)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    let error = dial.oneshot(name()).await.unwrap_err();
    assert_eq!(from.elapsed(), Duration::from_secs(10));
    assert_eq!(error.failure(), DialFailure::Timeout);
    let text = "no connection to billing.test:80 after 10s: \
        192.0.2.1:80 after 50ms: connection refused; more addresses were still being resolved";
    assert_eq!(error.to_string(), text);
    assert!(!partial.is_awaited());
}

#[tokio::test(start_paused = true)]
async fn late_addresses_count_until_the_deadline() {
    for (after, in_time) in [(999, true), (1001, false)] {
        let mock = Mock::new([(v4(1), Does::REFUSES), (v6(1), Does::CONNECTS)]);
        let partial = Partial::new(&[v4(1)]).then(ms(after), &[v6(1)]);
        let from = Instant::now();
        let dial = layer(&mock).connect_timeout(ms(1000));
        let result = dial.layer(partial.resolver()).oneshot(name()).await;
        assert_eq!(result.is_ok(), in_time, "after {after} ms");
        assert_eq!(from.elapsed(), ms(after.min(1000)));
        assert_eq!(mock.starts(from).len(), if in_time { 2 } else { 1 });
    }
}

#[tokio::test(start_paused = true)]
async fn resolution_delay_is_a_quarter_of_short_deadlines() {
    let partial = Partial::new(&[v4(1)]);
    let from = Instant::now();
    let mock = Mock::default();
    let dial = layer(&mock).connect_timeout(ms(40));
    let dial = dial.layer(partial.resolver());
    let error = dial.oneshot(name()).await.unwrap_err();
    assert_eq!(from.elapsed(), ms(40));
    assert_eq!(error.failure(), DialFailure::Timeout);
    assert_eq!(mock.starts(from), [(v4(1), 10)]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_addresses_waits_for_the_rest() {
    let mock = Mock::new([(v6(1), Does::CONNECTS)]);
    let partial = Partial::new(&[]).then(ms(200), &[v6(1)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    dial.oneshot(name()).await.unwrap();
    assert_eq!(mock.starts(from), [(v6(1), 200)]);

    let partial = Partial::new(&[]).then(ms(200), &[]);
    let dial = layer(&mock).layer(partial.resolver());
    let error = dial.oneshot(name()).await.unwrap_err();
    assert_eq!(error.failure(), DialFailure::NoAddresses);
}

#[tokio::test(start_paused = true)]
async fn late_addresses_are_held_against_the_policy_too() {
    let inside = SocketAddr::from(([10, 0, 0, 1], 80));
    let public = SocketAddr::from(([1, 1, 1, 1], 80));
    let mock = Mock::new([(public, Does::REFUSES), (inside, Does::CONNECTS)]);
    let guarded = layer(&mock).policy(AddrPolicy::public_only());
    let partial = Partial::new(&[public]).then(ms(200), &[inside, inside]);
    let dial = guarded.layer(partial.resolver());
    let error = dial.oneshot(name()).await.unwrap_err();
    assert_eq!(error.failure(), DialFailure::AllFailed);
    assert_eq!(error.blocked(), [inside]);
    assert_eq!(mock.take_started(), [public]);

    let partial = Partial::new(&[inside]).then(ms(200), &[inside]);
    let dial = guarded.layer(partial.resolver());
    let error = dial.oneshot(name()).await.unwrap_err();
    assert_eq!(error.failure(), DialFailure::Blocked);
    assert_eq!(mock.take_started(), []);
}

#[tokio::test(start_paused = true)]
async fn without_descriptors_no_late_family_is_awaited() {
    let mock = Mock::new([(v4(1), Does::fails(24))]);
    let partial = Partial::new(&[v4(1)]);
    let from = Instant::now();
    let dial = layer(&mock).layer(partial.resolver());
    let error = dial.oneshot(name()).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::TooManyOpenFiles);
    assert_eq!(from.elapsed(), ms(50));
}

#[tokio::test]
async fn a_local_address_rules_out_the_other_family() {
    let refused = Refused::start(V4);
    let partial = Partial::new(&[refused.addr()]);
    let dial = DialLayer::new()
        .local_address(V4.into())
        .connect_timeout(None);
    let dial = dial.layer(partial.resolver());
    let error = within(DEADLINE, dial.oneshot(name())).await.unwrap_err();
    assert_eq!(error.failure(), DialFailure::AllFailed);
}

#[tokio::test(start_paused = true)]
async fn losing_to_a_late_address_is_remembered() {
    let mock = Mock::new([(v4(1), Does::REFUSES), (v6(1), Does::CONNECTS)]);
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = service_fn(move |_: Name| {
        let is_first = asked.fetch_add(1, Relaxed) == 0;
        async move {
            if is_first {
                late::follow(ms(50), async { vec![v6(1)] });
                return Ok::<_, io::Error>(vec![v4(1)]);
            }
            Ok(vec![v4(1), v6(1)])
        }
    });
    let dial = layer(&mock).layer(resolver);
    dial.clone().oneshot(name()).await.unwrap();
    assert_eq!(mock.take_started(), [v4(1), v6(1)]);
    dial.oneshot(name()).await.unwrap();
    assert_eq!(mock.take_started(), [v6(1)]);
}

#[tokio::test(start_paused = true)]
async fn awaiting_the_late_family_is_phase_dns() {
    let mock = Mock::new([(v4(1), Does::REFUSES)]);
    let partial = Partial::new(&[v4(1)]).then(ms(200), &[v6(1)]);
    let mut dial = layer(&mock).layer(partial.resolver());
    let seen = PhaseSlot::new();
    let mut future = tokio_test::task::spawn(dial.call(name()));
    let mut poll = || {
        assert!(phase::scope(&seen, || future.poll()).is_pending());
        seen.phase()
    };
    assert_eq!(poll(), Phase::Dns);
    advance(ms(50)).await;
    assert_eq!(poll(), Phase::Dns, "refused at once");
    advance(ms(150)).await;
    assert_eq!(poll(), Phase::Tcp);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_dial_closes_and_awaits_nothing() {
    let mock = Mock::new([(v4(2), Does::REFUSES)]);
    for (addr, at, open) in [(v4(1), 0, 0), (v4(1), 60, 1), (v4(2), 60, 0)] {
        let partial = Partial::new(&[addr]);
        let mut dial = layer(&mock).layer(partial.resolver());
        let mut future = tokio_test::task::spawn(dial.call(name()));
        tokio_test::assert_pending!(future.poll());
        advance(ms(at)).await;
        tokio_test::assert_pending!(future.poll());
        assert!(partial.is_awaited());
        assert_eq!(mock.open(), open);
        drop(future);
        assert!(!partial.is_awaited());
        assert_eq!(mock.open(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_finished_dial_awaits_no_late_family() {
    let mock = Mock::new([(v6(1), Does::CONNECTS), (v6(2), Does::Nothing)]);
    for (addr, after) in [(v6(1), 0), (v6(2), 1000)] {
        let partial = Partial::new(&[addr]);
        let mut dial = layer(&mock)
            .connect_timeout(ms(1000))
            .layer(partial.resolver());
        let mut future = tokio_test::task::spawn(dial.call(name()));
        while future.poll().is_pending() {
            advance(ms(after)).await;
        }
        assert!(!partial.is_awaited());
        drop(future);
    }
}
