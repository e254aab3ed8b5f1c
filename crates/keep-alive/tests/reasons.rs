//! Each way in which an HTTP/1 connection ends, and the reason that is told and counted for it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use support::{LONG, Stack, cap, fetch, get, read};
use tollgate_core::CloseReason;
use tollgate_keep_alive::{KeepAliveLayer, RetryPolicy};
use tollgate_testing::{Gate, Recorded, Recorder, Reply, Upstream, within};

/// A pool whose only connection ends in some way, and who hears of it.
struct Ending {
    stack: Stack,
    upstream: Upstream,
    recorder: Arc<Recorder<Recorded>>,
}

impl Ending {
    async fn of(layer: KeepAliveLayer, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Self {
        let upstream = Upstream::start(move |_| reply()).await;
        let recorder = Recorder::of_pool();
        let stack = Stack::new(&upstream, &layer.observer(recorder.clone()));
        Self {
            stack,
            upstream,
            recorder,
        }
    }

    /// Calls, and reads what comes as far as it comes.
    async fn call(&self) {
        if let Ok(response) = get(&self.stack.pool, &self.upstream.uri("/")).await {
            let _whole_or_not = read(response).await;
        }
    }

    /// There is one event and one count, both with this reason.
    async fn ends_for(self, reason: CloseReason, name: &str) {
        let closed = |seen: &Recorded| matches!(seen, Recorded::Closed(..));
        let mut recorded = Vec::new();
        let listening = async {
            while !recorded.iter().any(closed) {
                recorded.extend(self.recorder.take());
                tokio::task::yield_now().await;
            }
        };
        within(LONG, listening).await;
        self.stack.connector.settled(|stats| stats.live == 0).await;
        recorded.extend(self.recorder.take());
        recorded.retain(closed);
        assert!(
            matches!(&recorded[..], [Recorded::Closed(1, seen, 1)] if *seen == reason),
            "{name}: {recorded:?}"
        );
        let stats = self.stack.stats();
        assert_eq!(stats.closed_by, [(reason, 1)], "{name}");
    }
}

fn cut() -> Reply {
    Reply::head(200).header("content-length", "9").body("cut")
}

/// What each says and does is there at once: the driver has seen the end before the caller has seen
/// the head.
#[tokio::test]
async fn a_peers_end_is_the_close_reason() {
    use CloseReason::{Error, PeerClose, PeerEof};
    let no_length = Reply::head(200).header("content-length", "x").hold();
    let once = cap(1).retry(RetryPolicy::NEVER);
    for (name, reply, reason) in [
        ("close is announced", Reply::ok("x").closing(), PeerClose),
        ("no body, announced", Reply::ok("").closing(), PeerClose),
        ("HTTP/1.0", Reply::http10("x"), PeerClose),
        (
            "a body that the close ends",
            Reply::head(200).body("x").close(),
            PeerClose,
        ),
        ("an end after an answer", Reply::ok("x").close(), PeerEof),
        ("an end before a head", Reply::nothing().close(), PeerEof),
        (
            "an end within a head",
            Reply::raw("HTTP/1.1 20").close(),
            Error,
        ),
        ("an end within a length", cut().close(), Error),
        ("an announced one within a length", cut().closing(), Error),
        (
            "an end within chunks",
            Reply::chunked().chunk("x").close(),
            Error,
        ),
        (
            "chunks that are none",
            Reply::chunked().body("zz\r\n").hold(),
            Error,
        ),
        (
            "not HTTP",
            Reply::raw("\x16\x03\x01 hello\r\n\r\n").hold(),
            Error,
        ),
        (
            "not HTTP, and an end",
            Reply::raw("hello\r\n\r\n").close(),
            Error,
        ),
        ("a reset before a head", Reply::nothing().reset(), Error),
        ("a length that is none", no_length, Error),
    ] {
        let ending = Ending::of(once.clone(), move || reply.clone()).await;
        ending.call().await;
        ending.ends_for(reason, name).await;
    }
}

/// As above, with the head seen first.
#[tokio::test]
async fn ending_after_the_head_is_the_close_reason() {
    use CloseReason::{Error, PeerClose};
    type Rest = fn(Reply) -> Reply;
    let table: [(_, _, Rest, _); 6] = [
        (
            "close is announced",
            Reply::chunked().closing(),
            Reply::end_chunks,
            PeerClose,
        ),
        (
            "the close ends it",
            Reply::head(200),
            |reply| reply.body("x").close(),
            PeerClose,
        ),
        ("an end within a length", cut(), Reply::close, Error),
        (
            "an end within chunks",
            Reply::chunked(),
            Reply::close,
            Error,
        ),
        ("a reset", cut(), Reply::reset, Error),
        (
            "an announced end, and a reset",
            cut().closing(),
            Reply::reset,
            Error,
        ),
    ];
    for (name, head, rest, reason) in table {
        let gate = Gate::new();
        let held = gate.clone();
        let reply = move || rest(head.clone().wait(&held));
        let ending = Ending::of(cap(1), reply).await;
        let response = get(&ending.stack.pool, &ending.upstream.uri("/")).await;
        gate.open();
        let _whole_or_not = read(response.unwrap()).await;
        ending.ends_for(reason, name).await;
    }
}

#[tokio::test]
async fn an_idle_connection_closes_for_the_peers_reason() {
    type Act = fn(&Upstream);
    let acts: [(_, Act, _); 3] = [
        ("an end", Upstream::close_idle, CloseReason::PeerEof),
        ("a reset", Upstream::reset_all, CloseReason::Error),
        ("bytes", |one| one.write_idle("x"), CloseReason::Unsolicited),
    ];
    for (name, act, reason) in acts {
        let ending = Ending::of(cap(1), || Reply::ok("x")).await;
        ending.call().await;
        ending.stack.settled(|stats| stats.idle == 1).await;
        act(&ending.upstream);
        ending.ends_for(reason, name).await;
    }
}

#[tokio::test]
async fn a_cancelled_exchange_is_the_close_reason() {
    let dropped = Ending::of(cap(1), || cut().hold()).await;
    drop(get(&dropped.stack.pool, &dropped.upstream.uri("/")).await);
    dropped
        .ends_for(CloseReason::BodyDropped, "a body is dropped")
        .await;

    let left = Ending::of(cap(1), Reply::never).await;
    let uri = left.upstream.uri("/");
    let mut call = Box::pin(get(&left.stack.pool, &uri));
    tokio::select! {
        _ = &mut call => panic!("nobody answers"),
        _ = left.upstream.settled(|stats| stats.requests == 1) => {}
    }
    drop(call);
    left.ends_for(CloseReason::Cancelled, "a call is cancelled")
        .await;
}

/// The peer was first: it has closed when the body is dropped.
#[tokio::test]
async fn a_body_dropped_late_is_no_close_reason() {
    for (reply, reason) in [
        (Reply::ok("x").close(), CloseReason::PeerEof),
        (Reply::ok("x").closing(), CloseReason::PeerClose),
    ] {
        let ending = Ending::of(cap(1), move || reply.clone()).await;
        let response = get(&ending.stack.pool, &ending.upstream.uri("/")).await;
        ending.upstream.settled(|stats| stats.live == 0).await;
        tokio::task::yield_now().await;
        drop(response);
        ending.ends_for(reason, "dropped late").await;
    }
}

#[tokio::test]
async fn a_pool_decision_is_the_close_reason() {
    let soon = Duration::from_millis(20);
    for (name, layer, reason) in [
        ("idle", cap(1).idle_timeout(soon), CloseReason::Idle),
        ("old", cap(1).max_lifetime(soon), CloseReason::MaxAge),
        (
            "used up",
            cap(1).max_requests_per_connection(NonZeroU64::MIN),
            CloseReason::MaxRequests,
        ),
    ] {
        let ending = Ending::of(layer, || Reply::ok("x")).await;
        ending.call().await;
        ending.ends_for(reason, name).await;
    }
    for reply in [Reply::ok("x"), Reply::never(), cut().hold()] {
        let ending = Ending::of(cap(1), move || reply.clone()).await;
        let pool = ending.stack.pool.clone();
        let uri = ending.upstream.uri("/");
        let call = tokio::spawn({
            let pool = pool.clone();
            async move { fetch(&pool, &uri).await }
        });
        ending.upstream.settled(|stats| stats.requests == 1).await;
        pool.drain(Duration::ZERO).await;
        let _answered_or_not = call.await.unwrap();
        ending.ends_for(CloseReason::Shutdown, "drained").await;
    }
}
