//! How a stream was lost, told from the error in hand; and peers that end each connection unused.

use http::Request;
use http_body_util::Full;
use tokio::time::Instant;
use tollgate_keep_alive::{KeepAliveError, KeepAliveErrorKind, RetryPolicy};
use tower::ServiceExt;

use super::memory::Still;
use super::*;

/// The callers run on other threads than the driver, and may see the end before it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_retries_gets_and_fails_posts() {
    for _ in 0..40 {
        let stack = Stack::new(None, &streams(1, 100)).await;
        let first = stack.calls(1);
        until(|| stack.peer.answer_all() == 1).await;
        all_ok(first).await;
        let gets = stack.calls(10);
        let posts: Vec<_> = (0..10)
            .map(|_| {
                let body = Full::new(Bytes::from("x"));
                let request = Request::post(&stack.uri).body(body).unwrap();
                tokio::spawn(stack.pool.clone().oneshot(request))
            })
            .collect();
        until(|| stack.peer.open() == [20]).await;
        stack.peer.answer_at_once();
        stack.peer.close(0);
        all_ok(gets).await;
        for post in posts {
            let lost = post.await.unwrap().unwrap_err();
            assert_eq!(lost.kind(), KeepAliveErrorKind::ClosedAfterSent, "{lost:?}");
        }
    }
}

/// 5 to 13 dials within 5 ms were what such a peer got.
#[tokio::test(start_paused = true)]
async fn goaway_on_each_connection_spaces_out_dials() {
    let still = Still::new(&streams(4, 100));
    still.peer.leave_at_once();
    let since = Instant::now();
    let error = fetch(&still.pool, &still.uri).await.unwrap_err();
    let dials = still.peer.accepted();
    let most = RetryPolicy::default().unsent as usize + 1;
    assert!((2..=most).contains(&dials), "{dials}: {error}");
    assert!(
        since.elapsed() >= Duration::from_millis(50),
        "{:?}",
        since.elapsed()
    );
}

/// A connector that agrees on HTTP/2 whatever the pool asks for: a request fails, and others go on.
#[tokio::test]
async fn http11_required_with_fixed_alpn_fails_one_call() {
    const HTTP_1_1_REQUIRED: u32 = 13;
    let stack = Stack::new(None, &streams(1, 100)).await;
    let call = stack.call();
    for connection in [0, 1] {
        until(|| stack.peer.open().get(connection) == Some(&1)).await;
        stack.peer.reset_first(connection, HTTP_1_1_REQUIRED);
    }
    let error = call.await.unwrap().unwrap_err();
    let error = error.downcast_ref::<KeepAliveError>().unwrap();
    assert_eq!(error.kind(), KeepAliveErrorKind::Exchange);
    let cause = std::error::Error::source(error).unwrap().to_string();
    let advice = ["requires HTTP/1.1", "offer http/1.1 alone by ALPN"];
    assert!(advice.iter().all(|words| cause.contains(words)), "{cause}");
    let others = stack.calls(2);
    until(|| stack.peer.open() == [0, 2]).await;
    stack.peer.answer_all();
    all_ok(others).await;
    // What was learnt holds for the next one: it fails at once.
    let call = stack.call();
    until(|| stack.peer.open() == [0, 1]).await;
    stack.peer.go_away_over(1, 0, HTTP_1_1_REQUIRED);
    assert!(call.await.unwrap().is_err());
    assert_eq!(stack.peer.accepted(), 2);
}
