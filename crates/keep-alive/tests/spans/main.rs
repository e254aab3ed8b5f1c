//! One span an attempt, with what it went through and no secret; and none on a connection's own
//! task.

#![allow(clippy::unwrap_used, reason = "a test")]

mod listener;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod tasks;
mod waits;

use futures_util::FutureExt;
use listener::{Spans, told};
use support::{cap, fetch, get, read, request};
use tollgate_testing::{Reply, Upstream};
use tower::{Layer, ServiceExt};
use tracing::Instrument;

#[test]
fn an_attempt_span_has_parent_and_phases() {
    let spans = Spans::default();
    spans.of(async {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let pool = cap(1).layer(told(&upstream));
        let uri = upstream.uri("/");
        for _ in 0..2 {
            let caller = tracing::info_span!("checkout");
            fetch(&pool, &uri).instrument(caller).await.unwrap();
        }
    });
    let [cold, warm] = &spans.attempts()[..] else {
        panic!("{:?}", spans.attempts());
    };
    for (field, value) in [("dns", "1ms"), ("connect", "2ms"), ("tls", "3ms")] {
        assert_eq!(cold.fields[field], value);
        assert!(!warm.fields.contains_key(field), "{warm:?}");
    }
    for (attempt, reused) in [(cold, "false"), (warm, "true")] {
        let fields = &attempt.fields;
        assert_eq!((&*fields["method"], &*fields["attempt"]), ("GET", "1"));
        assert_eq!((&*fields["status"], &*fields["connection"]), ("200", "1"));
        assert_eq!(
            (&*fields["outcome"], &*fields["reused"]),
            ("\"answered\"", reused)
        );
        assert!(fields.contains_key("first_byte") && fields.contains_key("remote"));
        assert!(!attempt.open, "it ends with the head");
    }
    assert_eq!(warm.fields["queued"], "0ns");
    assert_ne!(cold.fields["queued"], "0ns");
    assert_eq!((cold.parent, warm.parent), (Some(1), Some(3)));
}

#[test]
fn each_attempt_has_its_own_span() {
    let spans = Spans::default();
    spans.of(async {
        let upstream = Upstream::start(|request| match request.arrival {
            1 => Reply::nothing().close(),
            _ => Reply::ok("ok"),
        })
        .await;
        let pool = cap(1).layer(told(&upstream));
        for _ in 0..2 {
            fetch(&pool, &upstream.uri("/")).await.unwrap();
        }
    });
    let told: Vec<_> = spans.attempts();
    let outcomes: Vec<_> = told
        .iter()
        .map(|told| (&*told.fields["attempt"], &*told.fields["outcome"]))
        .collect();
    let (answered, failed) = ("\"answered\"", "\"failed\"");
    assert_eq!(outcomes, [("1", answered), ("1", failed), ("2", answered)]);
    assert!(told[1].fields["error"].contains("closed"), "{:?}", told[1]);
}

#[test]
fn refused_and_cancelled_calls_end_their_spans() {
    let spans = Spans::default();
    spans.of(async {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let pool = cap(1).max_waiting(1).layer(told(&upstream));
        let uri = upstream.uri("/");
        let holder = get(&pool, &uri).await.unwrap();
        let mut waiting = Box::pin(pool.clone().oneshot(request("GET", &uri)));
        assert!(waiting.as_mut().now_or_never().is_none());
        get(&pool, &uri).await.unwrap_err();
        drop(waiting);
        read(holder).await.unwrap();
    });
    let told = spans.attempts();
    assert_eq!(told[1].fields["outcome"], "\"cancelled\"");
    assert_eq!(told[2].fields["outcome"], "\"refused\"");
    assert!(told[2].fields["error"].contains("wait"), "{:?}", told[2]);
    assert!(told.iter().all(|told| !told.open));
}
