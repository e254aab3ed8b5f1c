//! A call that is dropped ends on the server, costs no connection, and leaves nothing behind.

use std::time::Duration;

use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tollgate_testing::eventually;

use crate::greeter::Hello;
use crate::server::Upstream;

const SOON: Duration = Duration::from_millis(50);

async fn both() -> [Upstream; 2] {
    [Upstream::plain().await, Upstream::tls()]
}

#[tokio::test]
async fn a_cancelled_unary_call_keeps_the_connection() {
    for upstream in both().await {
        let client = upstream.client();
        let mut greeter = upstream.greeter_over(&client);
        let call = greeter.say_hello(Hello::new("hang"));
        assert!(timeout(SOON * 4, call).await.is_err());
        eventually(|| upstream.greeter.live() == 0).await;
        greeter.say_hello(Hello::new("hello")).await.unwrap();
        assert_eq!(upstream.greeter.calls(), 2);
        assert_eq!(upstream.stats(&client).opened, 1);
        upstream.at_rest(&client).await;
    }
}

#[tokio::test]
async fn a_cancelled_stream_is_reset_alone() {
    for upstream in both().await {
        let client = upstream.client();
        let mut greeter = upstream.greeter_over(&client);
        let mut kept = greeter
            .count(Hello::new("ever"))
            .await
            .unwrap()
            .into_inner();
        let mut dropped = greeter
            .count(Hello::new("ever"))
            .await
            .unwrap()
            .into_inner();
        dropped.message().await.unwrap();
        assert_eq!(
            (upstream.greeter.live(), upstream.stats(&client).in_flight),
            (2, 2)
        );
        drop(dropped);
        assert_eq!(
            upstream.stats(&client).in_flight,
            1,
            "the lease is back at once"
        );
        eventually(|| upstream.greeter.live() == 1).await;
        for n in 0..20 {
            assert_eq!(kept.message().await.unwrap(), Some(Hello::new(n)));
        }
        drop(kept);
        assert_eq!(upstream.stats(&client).opened, 1);
        upstream.at_rest(&client).await;
    }
}

#[tokio::test]
async fn dropped_client_stream_is_reset() {
    for upstream in both().await {
        let client = upstream.client();
        let mut greeter = upstream.greeter_over(&client);
        let call = greeter.sum(stream::pending());
        assert!(timeout(SOON * 4, call).await.is_err());
        assert_eq!(upstream.greeter.calls(), 1);
        upstream.at_rest(&client).await;
        greeter.say_hello(Hello::new("hello")).await.unwrap();
        assert_eq!(upstream.stats(&client).opened, 1);
    }
}

#[tokio::test]
async fn a_chat_that_is_dropped_is_reset() {
    for upstream in both().await {
        let client = upstream.client();
        let mut greeter = upstream.greeter_over(&client);
        let (say, said) = mpsc::channel(1);
        let said = stream::unfold(said, |mut said| async {
            said.recv().await.map(|text| (text, said))
        });
        let mut heard = greeter.chat(said).await.unwrap().into_inner();
        say.send(Hello::new("a")).await.unwrap();
        assert_eq!(heard.message().await.unwrap(), Some(Hello::new("a")));
        drop((say, heard));
        upstream.at_rest(&client).await;
        assert_eq!(upstream.stats(&client).opened, 1);
    }
}

#[tokio::test]
async fn fifty_cancelled_calls_leave_every_gauge_at_zero() {
    for upstream in both().await {
        let client = upstream.client();
        for micros in (0..5_000).step_by(100) {
            let mut greeter = upstream.greeter_over(&client);
            let call = async {
                let mut counted = greeter
                    .count(Hello::new("ever"))
                    .await
                    .unwrap()
                    .into_inner();
                while counted.message().await.unwrap().is_some() {}
            };
            assert!(timeout(Duration::from_micros(micros), call).await.is_err());
        }
        upstream.at_rest(&client).await;
        let mut greeter = upstream.greeter_over(&client);
        greeter.say_hello(Hello::new("hello")).await.unwrap();
        assert!(
            upstream.stats(&client).opened <= 1,
            "no connection was lost"
        );
    }
}

/// The answer of a chat is dropped while its caller could still say something. hyper resets a stream
/// whose head has come only when both of its directions are given up.
#[tokio::test]
async fn a_dropped_streaming_response_resets_the_stream() {
    for upstream in both().await {
        let client = upstream.client();
        let mut greeter = upstream.greeter_over(&client);
        let (say, said) = mpsc::channel(1);
        let said = stream::unfold(said, |mut said| async {
            said.recv().await.map(|text| (text, said))
        });
        let mut heard = greeter.chat(said).await.unwrap().into_inner();
        say.send(Hello::new("a")).await.unwrap();
        assert_eq!(heard.message().await.unwrap(), Some(Hello::new("a")));
        drop(heard);
        upstream.at_rest(&client).await;
        assert!(say.is_closed(), "nobody listens any more");
    }
}
