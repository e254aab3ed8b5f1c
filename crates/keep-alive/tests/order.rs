//! First come, first served.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::join_all;
use support::{Stack, assert_at_rest, cap, fetch};
use tollgate_core::Event;
use tollgate_testing::{Gate, Recorder, Reply, Upstream, eventually};

thread_local! {
    /// Which caller is being polled.
    static CALLER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A caller that says who it is while it is polled.
struct Caller<F> {
    number: usize,
    call: Pin<Box<F>>,
}

impl<F: Future> Future for Caller<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        CALLER.set(self.number);
        self.call.as_mut().poll(cx)
    }
}

/// On one thread, so that the order in which grants are seen is the order in which they are made.
#[tokio::test]
async fn grants_are_in_the_exact_order_of_arrival() {
    for (requests, limit) in [(200, 2), (2000, 64)] {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let grants =
            Recorder::new(|event| matches!(event, Event::Granted { .. }).then(|| CALLER.get()));
        let stack = Stack::new(&upstream, &cap(limit).observer(grants.clone()));
        let uri = upstream.uri("/");
        let callers = (0..requests).map(|number| Caller {
            number,
            call: Box::pin(fetch(&stack.pool, &uri)),
        });
        for answer in join_all(callers).await {
            assert_eq!(answer.unwrap(), "ok");
        }
        let order = grants.take();
        assert!(order.iter().copied().eq(0..requests), "{order:?}");
        assert_at_rest(&stack.settled(|stats| stats.in_flight == 0).await);
    }
}

/// The server answers when all its sockets have a request, so that none of them turns round twice
/// while another is not looked at.
async fn inversions(requests: usize, limit: usize) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::builder()
        .backlog(4096)
        .reply(move |_| Reply::ok("ok").when(&held))
        .start()
        .await;
    let stack = Stack::new(&upstream, &cap(limit));
    let calls = (0..requests).map(|n| {
        let (pool, uri) = (stack.pool.clone(), upstream.uri(&format!("/{n}")));
        async move { fetch(&pool, &uri).await }
    });
    // Joined on one task, so that they reach the queue in this order.
    let calls = tokio::spawn(join_all(calls.collect::<Vec<_>>()));
    let mut answered = 0;
    while answered < requests {
        let next = requests.min(answered + limit);
        eventually(|| gate.arrivals() >= next).await;
        assert!(upstream.live() <= limit && stack.connector.stats().live <= limit);
        gate.admit(next - answered);
        answered = next;
    }
    for answer in calls.await.unwrap() {
        assert_eq!(answer.unwrap(), "ok");
    }

    let seen: Vec<usize> = upstream
        .requests()
        .iter()
        .map(|request| request.target[1..].parse().unwrap())
        .collect();
    let overtakers = |at: usize| seen[..at].iter().filter(|n| **n > seen[at]).count();
    let most = (0..seen.len()).map(overtakers).max();
    assert!(most < Some(limit), "{most:?} overtook one");
    assert_eq!((seen.len(), upstream.accepted()), (requests, limit));
    assert!(upstream.peak_live() <= limit);
    assert!(stack.connector.stats().peak_live <= limit);
    assert_at_rest(&stack.settled(|stats| stats.in_flight == 0).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_inversions_under_a_cap_of_two() {
    inversions(200, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_inversions_under_a_cap_of_sixty_four() {
    inversions(500, 64).await;
}
