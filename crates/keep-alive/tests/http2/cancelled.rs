//! Callers who give up, beside others who do not.

use tower::ServiceExt;

use super::*;

/// 15 rounds of 90 calls that are given up once the peer has them, and whose answers come all the same,
/// beside a POST on each connection. A burst of 1,000 resets is what servers bear.
#[tokio::test]
async fn cancelled_calls_cost_no_other_its_connection() {
    const ROUNDS: usize = 15;
    const CALLS: usize = 90;
    let stack = Stack::new(None, &streams(4, 100)).await;
    stack.peer.answer_late();
    let mut innocent = Vec::new();
    for round in 0..ROUNDS {
        let (pool, uri) = (stack.pool.clone(), stack.uri.clone());
        innocent.push(tokio::spawn(async move {
            let response = support::post(&pool, &uri, "x").await?;
            Ok::<_, BoxError>(support::read(response).await?)
        }));
        let calls = stack.calls(CALLS);
        let open = || stack.peer.open().iter().sum::<usize>();
        until(|| open() == CALLS + round + 1).await;
        for call in calls {
            call.abort();
        }
        until(|| open() == round + 1).await;
        stack.peer.answer_cancelled();
    }
    assert!(stack.peer.accepted() > 4, "{}", stack.peer.accepted());
    let most = stack.peer.most_resets();
    assert!(most <= 300, "{most} resets on one connection");
    stack.peer.answer_all();
    all_ok(innocent).await;
    until(|| stack.stats().in_flight == 0).await;
    assert_at_rest(&stack.stats());
}

/// One after the other, as time passes: no more than servers forget.
#[tokio::test(start_paused = true)]
async fn a_trickle_of_cancelled_calls_keeps_its_connection() {
    let still = memory::Still::new(&streams(4, 100));
    for call in 1..=2_000 {
        let request = support::request("GET", &still.uri);
        let given_up = tokio::time::timeout(
            Duration::from_millis(120),
            still.pool.clone().oneshot(request),
        );
        assert!(given_up.await.is_err());
        // Before so much silence that the path is in doubt.
        if call % 2 == 0 {
            still.peer.answer_at_once();
            fetch(&still.pool, &still.uri).await.unwrap();
            still.peer.hold();
        }
    }
    assert_eq!(still.peer.accepted(), 1);
}
