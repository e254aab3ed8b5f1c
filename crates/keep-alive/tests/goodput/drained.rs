//! Answers that no caller waits for while callers leave in numbers.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tollgate_keep_alive::OriginStats;
use tollgate_testing::{Reply, Upstream};

use crate::support::{Stack, cap, fetch, get};

const USE: Duration = Duration::from_millis(10);

/// The stats after a call of `path` was cancelled in the middle of a typical use, while callers leave.
async fn cancelled(path: &'static str, pressed: bool) -> OriginStats {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/never" => Reply::never(),
        "/long" => Reply::ok(vec![b'x'; 100 * 1024]).after(USE),
        _ => Reply::ok("ok").after(USE),
    });
    let upstream = upstream.await;
    let stack = Stack::in_memory(&upstream, &cap(1));
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    if pressed {
        let (pool, busy) = (stack.pool.clone(), upstream.uri("/"));
        let busy = tokio::spawn(async move { fetch(&pool, &busy).await });
        tokio::task::yield_now().await;
        for _ in 0..3 {
            let waits = timeout(
                Duration::from_millis(1),
                get(&stack.pool, &upstream.uri("/")),
            )
            .await;
            assert!(waits.is_err(), "the one connection is busy");
        }
        assert_eq!(busy.await.unwrap().unwrap(), "ok");
    }
    let call = timeout(USE / 2, get(&stack.pool, &upstream.uri(path))).await;
    assert!(call.is_err(), "it is not answered yet");
    sleep(USE * 10).await;
    stack.stats()
}

#[tokio::test(start_paused = true)]
async fn an_answer_due_soon_keeps_its_connection() {
    let stats = cancelled("/", true).await;
    assert_eq!((stats.bodies_drained, stats.idle), (1, 1), "{stats:#?}");
    assert_eq!((stats.opened, stats.served), (1, 2), "it is no use");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_costs_its_connection() {
    let stats = cancelled("/never", true).await;
    assert_eq!((stats.bodies_drained, stats.open), (0, 0), "{stats:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_too_long_costs_its_connection() {
    let stats = cancelled("/long", true).await;
    assert_eq!((stats.bodies_drained, stats.open), (0, 0), "{stats:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_exchange_closes_at_once_without_pressure() {
    let stats = cancelled("/", false).await;
    assert_eq!((stats.bodies_drained, stats.open), (0, 0), "{stats:#?}");
}
