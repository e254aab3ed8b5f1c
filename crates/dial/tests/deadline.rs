//! The time limit of a dial, and what it covers.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use common::{Answers, Does, Mock, dial, layer, ms, name, v4};
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::{Instant, advance};
use tollgate_core::ConnectErrorKind;
use tollgate_dial::{Dial, DialFailure};
use tower::{Layer, Service, ServiceExt, service_fn};

#[tokio::test(start_paused = true)]
async fn the_connect_timeout_covers_resolution_too() {
    let mock = Mock::default();
    let slow = service_fn(|_: Name| async {
        tokio::time::sleep(ms(1500)).await;
        Ok::<_, io::Error>([v4(1), v4(2)])
    });
    let from = Instant::now();
    let dial = layer(&mock).connect_timeout(ms(2000)).layer(slow);
    let error = dial.oneshot(name()).await.unwrap_err();
    assert_eq!((from.elapsed(), error.elapsed()), (ms(2000), ms(2000)));
    assert_eq!(
        (error.failure(), error.dns()),
        (DialFailure::Timeout, Some(ms(1500)))
    );
    assert_eq!(mock.starts(from), [(v4(1), 1500), (v4(2), 1750)]);
    assert_eq!(mock.open(), 0, "what was open is closed");
    assert_eq!(error.kind(), ConnectErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn the_default_limit_ends_a_hanging_resolver() {
    let hangs = service_fn(|_: Name| std::future::pending::<Result<[SocketAddr; 0], io::Error>>());
    let from = Instant::now();
    let error = Dial::new(hangs).oneshot(name()).await.unwrap_err();
    assert_eq!(from.elapsed(), Duration::from_secs(10));
    let text = "no connection to billing.test:80 after 10s: the name was still being resolved";
    assert_eq!(error.to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn a_connection_wins_a_tie_with_the_deadline() {
    let mock = Mock::new([(v4(1), Does::Connects { after: ms(500) })]);
    let limited = layer(&mock).connect_timeout(ms(500));
    dial(&limited, &[v4(1)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_address_without_limit_needs_no_timer() {
    let mock = Mock::default();
    let mut dial = layer(&mock)
        .connect_timeout(None)
        .layer(Answers(vec![v4(1)]));
    let mut future = tokio_test::task::spawn(dial.call(name()));
    tokio_test::assert_pending!(future.poll());
    advance(Duration::from_secs(3600)).await;
    assert!(!future.is_woken());
    tokio_test::assert_pending!(future.poll());
}
