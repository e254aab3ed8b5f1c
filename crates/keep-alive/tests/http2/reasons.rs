//! Each way in which an HTTP/2 connection ends, and the reason that is told and counted for it.

use std::sync::Arc;

use tollgate_core::CloseReason;

use super::peer::INTERNAL_ERROR;
use super::support::ears::{Ears, Told};
use super::*;

type End = fn(&Peer);

#[tokio::test]
async fn what_the_peer_does_to_a_connection_is_told_as_what_it_is() {
    let ends: [(_, End, _); 4] = [
        (
            "a GOAWAY",
            |peer| peer.go_away(0, 1),
            CloseReason::PeerClose,
        ),
        ("an end", |peer| peer.close(0), CloseReason::PeerEof),
        (
            "a GOAWAY over an error",
            |peer| peer.go_away_over(0, 1, INTERNAL_ERROR),
            CloseReason::Error,
        ),
        ("silence", Peer::fall_silent, CloseReason::Error),
    ];
    for (name, end, reason) in ends {
        for idle in [true, false] {
            let ears = Arc::new(Ears::default());
            let interval = Duration::from_millis(50);
            let options = Http2Options::new()
                .ping_interval(Some(interval))
                .ping_timeout(interval);
            let layer = cap(1).http2(options).observer(ears.clone());
            let stack = Stack::new(None, &layer).await;
            let call = tokio::spawn({
                let (pool, uri) = (stack.pool.clone(), stack.uri.clone());
                async move { support::post(&pool, &uri, "x").await.map(drop) }
            });
            until(|| stack.peer.open() == [1]).await;
            if idle {
                stack.peer.answer_all();
                until(|| stack.stats().idle == 1).await;
            }
            end(&stack.peer);
            stack.peer.answer_all();
            let closed = |told: &Told| matches!(told, Told::Closed(..));
            until(|| stack.stats().closed == 1).await;
            until(|| stack.connector.stats().live == 0).await;
            let _answered_or_not = call.await.unwrap();
            let mut heard = ears.take();
            heard.retain(closed);
            assert!(
                matches!(&heard[..], [Told::Closed(1, told, 1)] if *told == reason),
                "{name}, idle {idle}: {heard:?}"
            );
            assert_eq!(stack.stats().closed_for(reason), 1, "{name}");
        }
    }
}
