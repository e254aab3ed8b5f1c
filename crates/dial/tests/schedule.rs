//! The schedule of attempts, to the millisecond, under a paused clock.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use common::{Answers, Does, Mock, dial, layer, ms, name, v4, v6};
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::{Instant, advance};
use tollgate_core::{AttemptOutcome, ConnectErrorKind, Phase, PhaseSlot, phase};
use tower::{Layer, Service, service_fn};

#[tokio::test(start_paused = true)]
async fn an_unresponsive_address_costs_one_attempt_delay() {
    let mock = Mock::new([(v4(2), Does::CONNECTS)]);
    let from = Instant::now();
    let stream = dial(&layer(&mock), &[v4(1), v4(2)]).await.unwrap();
    assert_eq!(from.elapsed(), ms(250));
    assert_eq!(mock.starts(from), [(v4(1), 0), (v4(2), 250)]);
    assert_eq!(stream.info().remote, Some(v4(2)));
    assert_eq!(stream.info().connect, Some(ms(250)));
    let outcomes: Vec<_> = stream.info().attempts.iter().map(|a| a.outcome).collect();
    assert_eq!(
        outcomes,
        [AttemptOutcome::Abandoned, AttemptOutcome::Connected]
    );
    assert_eq!(mock.open(), 0, "the loser is closed");
}

#[tokio::test(start_paused = true)]
async fn families_take_turns_beginning_with_the_first_addresses() {
    let mock = Mock::default();
    let from = Instant::now();
    let error = dial(
        &layer(&mock).connect_timeout(ms(1100)),
        &[v6(1), v6(2), v6(1), v4(1), v6(3)],
    )
    .await
    .unwrap_err();
    let expected = [(v6(1), 0), (v4(1), 250), (v6(2), 500), (v6(3), 750)];
    assert_eq!(mock.starts(from), expected);
    assert_eq!(error.attempts().len(), 4, "each address once");
}

#[tokio::test(start_paused = true)]
async fn first_family_count_sets_the_leading_addresses() {
    let mock = Mock::default();
    let from = Instant::now();
    let two = layer(&mock)
        .first_family_count(NonZeroUsize::new(2).unwrap())
        .connect_timeout(ms(2000));
    let addrs = [v6(1), v6(2), v6(3), v4(1), v4(2)];
    dial(&two, &addrs).await.unwrap_err();
    let expected = [
        (v6(1), 0),
        (v6(2), 250),
        (v4(1), 500),
        (v6(3), 750),
        (v4(2), 1000),
    ];
    assert_eq!(mock.starts(from), expected);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_starts_the_next_within_ten_ms() {
    let fails_late = Does::Fails {
        after: ms(100),
        os_error: 111,
    };
    let mock = Mock::new([
        (v4(1), Does::REFUSES),
        (v4(2), fails_late),
        (v4(3), Does::CONNECTS),
    ]);
    let from = Instant::now();
    dial(&layer(&mock), &[v4(1), v4(2), v4(3)]).await.unwrap();
    assert_eq!(mock.starts(from), [(v4(1), 0), (v4(2), 10), (v4(3), 110)]);
}

#[tokio::test(start_paused = true)]
async fn an_older_attempts_failure_starts_the_next() {
    let fails_late = Does::Fails {
        after: ms(300),
        os_error: 111,
    };
    let mock = Mock::new([(v4(1), fails_late), (v4(3), Does::CONNECTS)]);
    let from = Instant::now();
    dial(&layer(&mock), &[v4(1), v4(2), v4(3)]).await.unwrap();
    assert_eq!(mock.starts(from), [(v4(1), 0), (v4(2), 250), (v4(3), 300)]);
}

#[tokio::test(start_paused = true)]
async fn six_attempts_run_and_the_first_can_win() {
    let connects = Does::Connects { after: ms(3000) };
    let mock = Mock::new([(v4(1), connects)]);
    let addrs: Vec<_> = (1..=6).map(v4).collect();
    let from = Instant::now();
    let stream = dial(&layer(&mock), &addrs).await.unwrap();
    assert_eq!((mock.peak(), mock.starts(from).len()), (6, 6));
    assert_eq!(from.elapsed(), ms(3000));
    assert_eq!(stream.info().remote, Some(v4(1)));
    assert_eq!(mock.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_attempt_yields_to_an_untried_address() {
    let mock = Mock::new([(v4(20), Does::CONNECTS)]);
    let addrs: Vec<_> = (1..=20).map(v4).collect();
    let from = Instant::now();
    dial(&layer(&mock), &addrs).await.unwrap();
    assert_eq!((mock.peak(), mock.open()), (6, 0));
    let expected: Vec<_> = (0..20).map(|n| (addrs[n], n as u128 * 250)).collect();
    assert_eq!(mock.starts(from), expected);
    // One at a time, each has a second.
    let one = layer(&mock).max_concurrent(NonZeroUsize::MIN);
    let from = Instant::now();
    mock.take_started();
    dial(&one, &[v4(1), v4(2), v4(20)]).await.unwrap();
    let expected = [(v4(1), 0), (v4(2), 1000), (v4(20), 2000)];
    assert_eq!(mock.starts(from), expected);
}

#[tokio::test(start_paused = true)]
async fn one_attempt_at_a_time_waits_for_each() {
    let mock = Mock::new([
        (
            v4(1),
            Does::Fails {
                after: ms(900),
                os_error: 110,
            },
        ),
        (v4(2), Does::CONNECTS),
    ]);
    let from = Instant::now();
    let one = layer(&mock).max_concurrent(NonZeroUsize::MIN);
    dial(&one, &[v4(1), v4(2)]).await.unwrap();
    assert_eq!(mock.starts(from), [(v4(1), 0), (v4(2), 900)]);
}

#[tokio::test(start_paused = true)]
async fn a_family_without_a_route_goes_last() {
    let mock = Mock::new([(v6(1), Does::fails(101)), (v4(2), Does::CONNECTS)]);
    let from = Instant::now();
    let addrs = [v6(1), v6(2), v6(3), v4(1), v4(2)];
    dial(&layer(&mock), &addrs).await.unwrap();
    assert_eq!(mock.starts(from), [(v6(1), 0), (v4(1), 10), (v4(2), 260)]);
}

#[tokio::test(start_paused = true)]
async fn eafnosupport_skips_the_rest_of_a_family() {
    let mock = Mock::new([(v6(1), Does::fails(97)), (v4(1), Does::REFUSES)]);
    let from = Instant::now();
    let error = dial(&layer(&mock), &[v6(1), v6(2), v4(1)])
        .await
        .unwrap_err();
    assert_eq!(mock.starts(from), [(v6(1), 0), (v4(1), 10)]);
    assert_eq!(error.kind(), ConnectErrorKind::Refused);
}

#[tokio::test(start_paused = true)]
async fn without_file_descriptors_nothing_more_is_tried() {
    let mock = Mock::new([(v4(1), Does::fails(24))]);
    let from = Instant::now();
    let error = dial(&layer(&mock), &[v4(1), v4(2)]).await.unwrap_err();
    assert_eq!(mock.starts(from), [(v4(1), 0)]);
    assert_eq!(error.kind(), ConnectErrorKind::TooManyOpenFiles);
    assert!(error.to_string().contains("ulimit -n"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn exhausted_ports_bar_only_their_own_address() {
    let mock = Mock::new([(v4(1), Does::fails(99)), (v4(2), Does::CONNECTS)]);
    dial(&layer(&mock), &[v4(1), v4(2)]).await.unwrap();

    mock.set(v4(2), Does::fails(99));
    let error = dial(&layer(&mock), &[v4(1), v4(2)]).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::PortsExhausted);
    assert!(
        error.to_string().contains("local ports exhausted"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_the_dial_closes_what_is_open() {
    let mock = Mock::default();
    let mut dial = layer(&mock).layer(Answers(vec![v4(1), v4(2)]));
    let mut future = tokio_test::task::spawn(dial.call(name()));
    tokio_test::assert_pending!(future.poll());
    advance(ms(250)).await;
    tokio_test::assert_pending!(future.poll());
    assert_eq!(mock.open(), 2);
    drop(future);
    assert_eq!(mock.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_ended_attempt_is_told_of_once() {
    let mock = Mock::new([(v4(1), Does::REFUSES), (v4(3), Does::CONNECTS)]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let layer = layer(&mock).on_outcome(move |addr, outcome| {
        tell.lock().unwrap().push((addr, outcome));
    });
    dial(&layer, &[v4(1), v4(2), v4(3), v4(4)]).await.unwrap();
    let refused = AttemptOutcome::Failed(ConnectErrorKind::Refused);
    let expected = [
        (v4(1), refused),
        (v4(2), AttemptOutcome::Abandoned),
        (v4(3), AttemptOutcome::Connected),
    ];
    assert_eq!(*told.lock().unwrap(), expected);

    told.lock().unwrap().clear();
    mock.set(v4(9), Does::Nothing);
    let limited = layer.connect_timeout(ms(1000));
    dial(&limited, &[v4(9), v4(2)]).await.unwrap_err();
    let timed_out = AttemptOutcome::Failed(ConnectErrorKind::Timeout);
    // The second one had less than the time of one lost SYN: that says nothing about it.
    assert_eq!(*told.lock().unwrap(), [(v4(9), timed_out)]);
}

#[tokio::test(start_paused = true)]
async fn a_dial_reports_phases_to_its_scope() {
    let mock = Mock::new([(v4(1), Does::REFUSES)]);
    let slow = service_fn(|_: Name| async {
        tokio::time::sleep(ms(20)).await;
        Ok::<_, io::Error>([v4(1), v4(2)])
    });
    let mut dial = layer(&mock).layer(slow);
    let seen = PhaseSlot::new();
    let mut future = tokio_test::task::spawn(dial.call(name()));
    let mut poll = || assert!(phase::scope(&seen, || future.poll()).is_pending());
    poll();
    assert_eq!(seen.phase(), Phase::Dns);
    advance(ms(20)).await;
    poll();
    assert_eq!(seen.phase(), Phase::Tcp);
    advance(ms(10)).await;
    poll();
    let listed: Vec<_> = seen.attempts().iter().map(ToString::to_string).collect();
    let refused = "192.0.2.1:80 after 20ms: connection refused";
    assert_eq!(listed, [refused, "192.0.2.2:80 after 30ms: no answer"]);
}
