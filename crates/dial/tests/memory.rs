//! The memory of earlier dials: the order it gives, and the limits of what it learns.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use common::{Answers, Does, Mock, MockIo, ms, name, v4, v6};
use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::{Instant, advance};
use tollgate_dial::{Dial, DialLayer};
use tower::{Layer, Service, ServiceExt, service_fn};

async fn dial<R>(dial: &Dial<R, Mock>) -> SocketAddr
where
    R: Service<Name> + Clone,
    R::Response: IntoIterator<Item = SocketAddr>,
    R::Error: Into<tollgate_core::BoxError>,
{
    let stream = dial.clone().oneshot(name()).await.unwrap();
    let MockIo(addr) = *stream.get_ref().unwrap();
    addr
}

#[tokio::test(start_paused = true)]
async fn an_overtaken_address_is_tried_last_next_time() {
    let mock = Mock::new([(v4(2), Does::CONNECTS)]);
    let service = DialLayer::with_attempt(mock.clone()).layer(Answers(vec![v4(1), v4(2)]));
    assert_eq!(dial(&service).await, v4(2));
    let from = Instant::now();
    assert_eq!(dial(&service).await, v4(2));
    assert_eq!(
        from.elapsed(),
        Duration::ZERO,
        "no waiting for the hole again"
    );
}

#[tokio::test(start_paused = true)]
async fn new_connections_spread_over_the_addresses_that_answer() {
    let addrs = [v4(1), v4(2), v4(3), v4(4)];
    let mock = Mock::new(addrs[1..].iter().map(|addr| (*addr, Does::CONNECTS)));
    let turn = Arc::new(AtomicUsize::new(0));
    let rotating = service_fn(move |_: Name| {
        let mut answer = addrs;
        answer.rotate_left(turn.fetch_add(1, Relaxed) % 4);
        std::future::ready(Ok::<_, std::io::Error>(answer))
    });
    let service = DialLayer::with_attempt(mock).layer(rotating);
    let mut count = [0; 5];
    for _ in 0..400 {
        let SocketAddr::V4(addr) = dial(&service).await else {
            unreachable!()
        };
        count[usize::from(addr.ip().octets()[3])] += 1;
    }
    // The turns of the first, which is a hole, go to the one after it.
    assert_eq!(count[1], 0);
    assert!(
        count[2..].iter().all(|n| (100..=200).contains(n)),
        "{count:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_dial_retries_a_loser_after_thirty_seconds() {
    let mock = Mock::new([(v4(2), Does::CONNECTS)]);
    let service = DialLayer::with_attempt(mock.clone()).layer(Answers(vec![v4(1), v4(2)]));
    dial(&service).await;
    advance(Duration::from_secs(30)).await;
    mock.take_started();
    let from = Instant::now();
    let (probe, other) = tokio::join!(dial(&service), dial(&service));
    assert_eq!((probe, other), (v4(2), v4(2)));
    assert_eq!(from.elapsed(), ms(250));
    assert_eq!(mock.take_started(), [v4(1), v4(2), v4(2)]);

    mock.set(v4(1), Does::CONNECTS);
    advance(Duration::from_secs(30)).await;
    assert_eq!(dial(&service).await, v4(1));
    assert_eq!(dial(&service).await, v4(1), "back in its place");
}

#[tokio::test(start_paused = true)]
async fn when_all_failed_nothing_is_held_against_anybody() {
    // Otherwise whoever comes back first would get every connection for half a minute.
    let mock = Mock::new([(v4(1), Does::REFUSES), (v4(2), Does::REFUSES)]);
    let service = DialLayer::with_attempt(mock.clone()).layer(Answers(vec![v4(1), v4(2)]));
    service.clone().oneshot(name()).await.unwrap_err();
    mock.set(v4(1), Does::CONNECTS);
    mock.set(v4(2), Does::CONNECTS);
    assert_eq!(dial(&service).await, v4(1));
}

#[tokio::test(start_paused = true)]
async fn the_next_dial_resumes_after_timed_out_addresses() {
    let mock = Mock::new([(v4(15), Does::CONNECTS)]);
    let service = DialLayer::with_attempt(mock.clone())
        .connect_timeout(ms(1900))
        .layer(Answers((1..=15).map(v4).collect()));
    service.clone().oneshot(name()).await.unwrap_err();
    // Six, and as many again when those had a second.
    assert_eq!(mock.take_started(), (1..=12).map(v4).collect::<Vec<_>>());
    let from = Instant::now();
    assert_eq!(dial(&service).await, v4(15));
    // The last six were not open for a second: nothing says that they are dead.
    assert_eq!(mock.take_started(), (7..=15).map(v4).collect::<Vec<_>>());
    assert!(from.elapsed() < ms(2000));
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_was_dropped_does_so_too() {
    let mock = Mock::new([(v4(20), Does::CONNECTS)]);
    let service = DialLayer::with_attempt(mock.clone()).layer(Answers((1..=20).map(v4).collect()));
    let dropped = tokio::time::timeout(ms(2100), dial(&service)).await;
    assert!(dropped.is_err());
    assert_eq!(mock.take_started().last(), Some(&v4(9)));
    assert_eq!(dial(&service).await, v4(20));
    // The first five had a second or were closed for others; nothing says that the sixth is dead.
    assert_eq!(mock.take_started()[0], v4(6));
}

#[tokio::test(start_paused = true)]
async fn losing_thrice_puts_ipv6_second_for_ten_minutes() {
    let mock = Mock::new([(v4(1), Does::CONNECTS)]);
    let service = DialLayer::with_attempt(mock.clone());
    // A new name each time, with an address of its own: only the family is remembered.
    let turn = Arc::new(AtomicUsize::new(1));
    let resolver = service_fn(move |_: Name| {
        let n = u16::try_from(turn.fetch_add(1, Relaxed)).unwrap();
        std::future::ready(Ok::<_, std::io::Error>([v6(n), v4(1)]))
    });
    let service = service.layer(resolver);
    for n in 1..=3 {
        dial(&service).await;
        assert_eq!(mock.take_started(), [v6(n), v4(1)]);
    }
    dial(&service).await;
    assert_eq!(mock.take_started(), [v4(1)]);
    advance(Duration::from_secs(600)).await;
    dial(&service).await;
    assert_eq!(mock.take_started(), [v6(5), v4(1)]);
}

#[tokio::test(start_paused = true)]
async fn hosts_do_not_learn_from_one_another() {
    let mock = Mock::new([(v4(2), Does::CONNECTS)]);
    let service = DialLayer::with_attempt(mock.clone()).layer(Answers(vec![v4(1), v4(2)]));
    dial(&service).await;
    mock.take_started();
    let other = Uri::from_static("http://other.test");
    service.oneshot(other).await.unwrap();
    assert_eq!(mock.take_started(), [v4(1), v4(2)]);
}
