//! A pool that ends while streams are open.

use tollgate_keep_alive::KeepAliveErrorKind;

use super::*;

/// The cut looks from above as if the peer had closed: the request was once sent again, to a pool that
/// takes none, and its error said that nothing had been sent.
#[tokio::test]
async fn a_call_cut_by_close_is_not_retried() {
    let stack = Stack::new(None, &streams(4, 100)).await;
    let first = stack.calls(1);
    until(|| stack.peer.answer_all() == 1).await;
    all_ok(first).await;
    let call = tokio::spawn({
        let (pool, uri) = (stack.pool.clone(), stack.uri.clone());
        async move { support::get(&pool, &uri).await.map(drop) }
    });
    until(|| stack.peer.open() == [1]).await;
    assert_eq!(stack.pool.close(), 1);
    let cut = call.await.unwrap().unwrap_err();
    assert_eq!(cut.kind(), KeepAliveErrorKind::ClosedAfterSent);
    assert_eq!(cut.timings().attempts, 1);
    assert!(!cut.nothing_sent());
}
