//! Each way in which an HTTP/2 connection ends, and the reason that is told and counted for it.

use tollgate_core::CloseReason;

use super::peer::INTERNAL_ERROR;
use super::*;
use tollgate_testing::{Recorded, Recorder};

type End = fn(&Peer);

#[tokio::test]
async fn an_http2_connection_closes_for_the_peers_reason() {
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
            let recorder = Recorder::of_pool();
            let interval = Duration::from_millis(50);
            let options = Http2Options::new()
                .ping_interval(Some(interval))
                .ping_timeout(interval);
            let layer = cap(1).http2(options).observer(recorder.clone());
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
            let closed = |seen: &Recorded| matches!(seen, Recorded::Closed(..));
            until(|| stack.stats().closed == 1).await;
            until(|| stack.connector.stats().live == 0).await;
            let _answered_or_not = call.await.unwrap();
            let mut events = recorder.take();
            events.retain(closed);
            assert!(
                matches!(&events[..], [Recorded::Closed(1, seen, 1)] if *seen == reason),
                "{name}, idle {idle}: {events:?}"
            );
            assert_eq!(stack.stats().closed_for(reason), 1, "{name}");
        }
    }
}
