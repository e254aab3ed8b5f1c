//! Uploads whose answer is complete before they are: they end soon, whatever flow control says.

use futures_util::stream;
use http::Request;
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tower::ServiceExt;

use super::*;

type Body = BoxBody<Bytes, std::convert::Infallible>;

const UPLOAD: usize = 300 * 1024;
/// The streams that the peer allows.
const ALLOWED: usize = 10;

fn whole() -> Body {
    Full::new(Bytes::from(vec![b'x'; UPLOAD])).boxed()
}

fn chunks() -> Body {
    let chunk = Bytes::from(vec![b'x'; UPLOAD / 30]);
    let frames = (0..30).map(move |_| Ok(Frame::data(chunk.clone())));
    StreamBody::new(stream::iter(frames.collect::<Vec<_>>())).boxed()
}

/// Exactly what the window lets through, so that hyper is done with it.
fn as_much_as_goes() -> Body {
    Full::new(Bytes::from(vec![b'x'; 65_535])).boxed()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Read,
    DropWhole,
    DropHead,
}

/// 40 uploads to a peer that answers each and lets 64 KiB through in all, on one connection, and then
/// one more call.
async fn uploads_of(body: fn() -> Body, then: Then) {
    let stack = Stack::new(u32::try_from(ALLOWED).ok(), &streams(1, 100)).await;
    if then != Then::DropHead {
        stack.peer.answer_at_once();
    }
    let uploads: Vec<_> = (0..40)
        .map(|_| {
            let request = Request::post(&stack.uri).body(body()).unwrap();
            let pool = stack.pool.clone();
            tokio::spawn(async move {
                let response = pool.oneshot(request).await.unwrap();
                if then == Then::Read {
                    let body = response.into_body().collect().await.unwrap();
                    assert_eq!(body.to_bytes(), "ok");
                }
            })
        })
        .collect();
    if then == Then::DropHead {
        // As the streams of those that are answered become free, the next come.
        until(|| stack.peer.requests() > 0).await;
        let ended = || stack.stats().granted == 40 && stack.stats().in_flight == 0;
        until(|| {
            stack.peer.answer_heads();
            ended()
        })
        .await;
    }
    for upload in uploads {
        within(support::LONG, upload).await.unwrap();
    }
    stack.peer.answer_at_once();
    all_ok(stack.calls(20)).await;
    until(|| stack.stats().in_flight == 0).await;
    assert_eq!(stack.peer.accepted(), 1, "{then:?}");
    assert!(stack.peer.peak() <= ALLOWED, "{then:?}");
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn answered_uploads_are_reset_behind_a_closed_window() {
    uploads_of(whole, Then::Read).await;
    uploads_of(chunks, Then::Read).await;
    uploads_of(as_much_as_goes, Then::Read).await;
}

#[tokio::test]
async fn uploads_whose_answer_is_dropped_unread_are_reset() {
    uploads_of(whole, Then::DropWhole).await;
    uploads_of(chunks, Then::DropWhole).await;
}

#[tokio::test]
async fn dropping_an_answers_head_resets_the_upload() {
    uploads_of(whole, Then::DropHead).await;
    uploads_of(chunks, Then::DropHead).await;
}
