//! A dial within a budget that a layer above keeps, and what its end teaches, whoever ends it.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::future::{Future, pending, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Answers, Does, Mock, layer, ms, name, v4, v6};
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::{Instant, timeout};
use tollgate_core::{AttemptOutcome, ConnectErrorKind, Phase, PhaseSlot, phase};
use tollgate_dial::{AddrPolicy, Dial, DialLayer};
use tower::{Layer, ServiceExt, service_fn};

/// As a connect timeout does: says before each poll what is left, and drops the dial at the end.
async fn within<T>(budget: Duration, slot: &PhaseSlot, dial: impl Future<Output = T>) -> Option<T> {
    let from = Instant::now();
    let mut dial = pin!(dial);
    let scoped = poll_fn(|cx| {
        slot.set_left(budget.saturating_sub(from.elapsed()));
        phase::scope(slot, || dial.as_mut().poll(cx))
    });
    timeout(budget, scoped).await.ok()
}

#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<String>>>);

impl Reports {
    /// Records what a dial of this layer reports.
    fn of(&self, layer: DialLayer<Mock>) -> DialLayer<Mock> {
        let [outcomes, failures] = [self.0.clone(), self.0.clone()];
        layer
            .on_outcome(move |addr, outcome| {
                let ended = match outcome {
                    AttemptOutcome::Failed(ConnectErrorKind::Timeout) => "timed out",
                    AttemptOutcome::Failed(_) => "failed",
                    _ => "did not fail",
                };
                outcomes.lock().unwrap().push(format!("{addr} {ended}"));
            })
            .on_all_failed(move |host| failures.lock().unwrap().push(host.to_owned()))
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_budget_reaches_the_second_address() {
    for budget in [40, 100, 200, 250] {
        let mock = Mock::new([(v4(1), Does::Connects { after: ms(10) })]);
        let dial = layer(&mock).layer(Answers(vec![v6(1), v4(1)]));
        let slot = PhaseSlot::new();
        let stream = within(ms(budget), &slot, dial.oneshot(name())).await;
        let stream = stream.expect("within the budget").unwrap();
        assert_eq!(stream.info().remote, Some(v4(1)), "{budget} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tcp_limit_cuts_the_attempt_delay() {
    let mock = Mock::new([(v4(2), Does::CONNECTS)]);
    let dial = layer(&mock).layer(Answers(vec![v4(1), v4(2)]));
    let (slot, from) = (PhaseSlot::new(), Instant::now());
    slot.set_limit(Phase::Tcp, Some(ms(200)));
    within(ms(5000), &slot, dial.oneshot(name()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(mock.starts(from), [(v4(1), 0), (v4(2), 100)]);
}

#[tokio::test(start_paused = true)]
async fn a_dial_dropped_at_budget_reports_its_addresses() {
    for (budget, both) in [(50, false), (200, false), (1000, false), (5000, true)] {
        let (mock, reports) = (Mock::default(), Reports::default());
        let dial = reports.of(layer(&mock)).layer(Answers(vec![v4(1), v4(2)]));
        let slot = PhaseSlot::new();
        let dropped = within(ms(budget), &slot, dial.oneshot(name())).await;
        assert!(dropped.is_none());
        // The second one had no chance in a short budget, but is not a reason to keep the answer.
        let mut expected = vec![
            "192.0.2.1:80 timed out",
            "192.0.2.2:80 timed out",
            "billing.test",
        ];
        if !both {
            expected.remove(1);
        }
        assert_eq!(reports.take(), expected, "{budget} ms");
        assert_eq!(mock.open(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_too_short_still_reports_the_host() {
    for budget in [100, 200, 1000, 5000, 10_000] {
        let reports = Reports::default();
        let many = Answers((1..=60).map(v4).collect());
        let dial = reports.of(layer(&Mock::default())).layer(many);
        let slot = PhaseSlot::new();
        assert!(
            within(ms(budget), &slot, dial.oneshot(name()))
                .await
                .is_none()
        );
        let reported = reports.take();
        let hosts = reported
            .iter()
            .filter(|report| *report == "billing.test")
            .count();
        assert_eq!(hosts, 1, "{budget} ms: {reported:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_and_timed_out_dials_report_once() {
    let reports = Reports::default();
    let silent = reports
        .of(layer(&Mock::default()))
        .connect_timeout(ms(3000));
    common::dial(&silent, &[v4(1)]).await.unwrap_err();
    assert_eq!(reports.take(), ["192.0.2.1:80 timed out", "billing.test"]);
    let refuses = reports.of(layer(&Mock::new([(v4(1), Does::REFUSES)])));
    common::dial(&refuses, &[v4(1)]).await.unwrap_err();
    assert_eq!(reports.take(), ["192.0.2.1:80 failed", "billing.test"]);
}

#[tokio::test(start_paused = true)]
async fn a_dial_cancelled_early_blames_no_address() {
    let reports = Reports::default();
    let dial = reports
        .of(layer(&Mock::default()))
        .layer(Answers(vec![v4(1)]));
    let cancelled = timeout(ms(400), dial.oneshot(name())).await;
    assert!(cancelled.is_err());
    assert_eq!(reports.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_won_dial_reports_no_failure_of_all() {
    let reports = Reports::default();
    let mock = Mock::new([(v4(2), Does::CONNECTS)]);
    common::dial(&reports.of(layer(&mock)), &[v4(1), v4(2)])
        .await
        .unwrap();
    let expected = ["192.0.2.1:80 did not fail", "192.0.2.2:80 did not fail"];
    assert_eq!(reports.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_outer_budget_replaces_the_default_limit() {
    let hangs = service_fn(|_: Name| pending::<Result<[SocketAddr; 0], std::io::Error>>());
    let from = Instant::now();
    let slot = PhaseSlot::new();
    let dial = within(ms(20_000), &slot, Dial::new(hangs).oneshot(name())).await;
    assert!(dial.is_none(), "the budget is the one clock");
    assert_eq!(from.elapsed(), ms(20_000));
    // One that was asked for stays.
    let limited = DialLayer::new().connect_timeout(ms(300)).layer(hangs);
    let dial = within(ms(20_000), &slot, limited.oneshot(name())).await;
    assert!(dial.is_some_and(|dial| dial.is_err()));
}

#[tokio::test(start_paused = true)]
async fn six_silent_addresses_do_not_hide_the_seventh() {
    let mock = Mock::new([(v4(7), Does::CONNECTS)]);
    let from = Instant::now();
    let addrs: Vec<_> = (1..=7).map(v4).collect();
    common::dial(&layer(&mock), &addrs).await.unwrap();
    assert_eq!(
        from.elapsed(),
        ms(1500),
        "one attempt delay after the sixth"
    );
    assert_eq!(mock.peak(), 6);
}

#[tokio::test(start_paused = true)]
async fn the_cap_on_addresses_leaves_out_no_family() {
    let mock = Mock::new([(v4(1), Does::CONNECTS)]);
    let addrs: Vec<_> = (1..=500).map(v6).chain([v4(1)]).collect();
    common::dial(&layer(&mock), &addrs).await.unwrap();
    assert_eq!(mock.take_started(), [v6(1), v4(1)]);
}

#[tokio::test(start_paused = true)]
async fn forbidden_addresses_take_no_place_under_the_cap() {
    let good = SocketAddr::from(([1, 1, 1, 1], 80));
    let mock = Mock::new([(good, Does::CONNECTS)]);
    let layer = layer(&mock).policy(AddrPolicy::public_only());
    let addrs: Vec<_> = (1..=200).map(v4).chain([good]).collect();
    common::dial(&layer, &addrs).await.unwrap();
    assert_eq!(mock.take_started(), [good]);
}

#[tokio::test(start_paused = true)]
async fn forty_thousand_addresses_do_not_delay_a_dial() {
    let mock = Mock::new([(v4(1), Does::CONNECTS)]);
    let many = (0..40_000).map(v6).chain([v4(1)]).rev().collect::<Vec<_>>();
    common::dial(&layer(&mock), &many).await.unwrap();
    assert_eq!(mock.take_started(), [v4(1)]);
}

#[tokio::test(start_paused = true)]
async fn delays_without_end_do_not_panic() {
    let mock = Mock::new([(v4(1), Does::REFUSES), (v4(2), Does::CONNECTS)]);
    let layer = layer(&mock)
        .attempt_delay(Duration::MAX)
        .resolution_delay(Duration::MAX)
        .connect_timeout(Duration::MAX);
    common::dial(&layer, &[v4(1), v4(2)]).await.unwrap();
}
