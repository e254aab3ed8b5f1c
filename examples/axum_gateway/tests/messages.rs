//! Messages whose framing or meaning is not the plain one.

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use http::header::TRAILER;
use tollgate::Client;
use tollgate_testing::{DEADLINE, Reply, Upstream};

use super::support::{Caller, Site, serve};

/// A caller of a gateway whose upstream answers with this. Dropping the upstream stops it.
async fn answered(request: &str, reply: Reply) -> (Caller, Upstream) {
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let site = Site::before(&upstream).await;
    (site.call(request).await, upstream)
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn request_target_forms_are_rewritten_or_refused() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let site = Site::before(&upstream).await;
    for (target, status, seen) in [
        ("OPTIONS *", 200, Some("OPTIONS *")),
        ("OPTIONS /x", 200, Some("OPTIONS /x")),
        ("GET http://a.test?y", 200, Some("GET /?y")),
        ("GET *", 400, None),
        ("GET a.test:80", 400, None),
        ("GET", 400, None),
        ("CONNECT a.test:80", 501, None),
    ] {
        let request = format!("{target} HTTP/1.1\r\nhost: a.test\r\n\r\n");
        let head = site.call(request).await.head().await;
        assert_eq!(head.status(), status, "{target}");
        if let Some(seen) = seen {
            let last = upstream.requests().pop().unwrap();
            assert_eq!(format!("{} {}", last.method, last.target), seen);
        }
    }
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn answer_to_head_keeps_the_upstreams_length() {
    let sized = Reply::head(200).header("content-length", "1234");
    let (mut caller, _upstream) = answered(HEAD, sized).await;
    assert_eq!(caller.head().await.all("content-length"), ["1234"]);
    assert_eq!(caller.rest().await, "");
    let (mut caller, _upstream) = answered(HEAD, Reply::chunked()).await;
    assert_eq!(caller.head().await.all("content-length"), [""; 0]);
    assert_eq!(caller.rest().await, "");
}

#[tokio::test]
async fn answers_without_a_body_gain_no_length() {
    for status in [204, 304] {
        let (mut caller, _upstream) = answered(GET, Reply::head(status)).await;
        let head = caller.head().await;
        assert_eq!(head.status(), status);
        assert_eq!(head.all("content-length"), [""; 0]);
        assert_eq!(caller.rest().await, "");
    }
}

/// RFC 9112 section 6.3: whoever believed the length would take the rest for another answer.
#[tokio::test]
async fn content_length_beside_chunked_is_dropped() {
    let both = Reply::chunked().header("content-length", "1");
    let (mut caller, _upstream) = answered(GET, both.chunk("hello").end_chunks()).await;
    let head = caller.head().await;
    assert_eq!(head.all("content-length"), [""; 0]);
    assert_eq!(caller.rest().await, "5\r\nhello\r\n0\r\n\r\n");

    let request = "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1\r\n\
                   transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (mut caller, upstream) = answered(request, Reply::echo()).await;
    caller.head().await;
    assert_eq!(caller.bytes(5).await, "hello");
    assert_eq!(upstream.requests()[0].header("content-length"), None);
}

/// Else five bytes in chunks would go on as a whole body of one.
#[tokio::test]
async fn content_length_is_dropped_though_connection_names_coding() {
    let both = Reply::chunked()
        .header("content-length", "1")
        .header("connection", "transfer-encoding");
    let (mut caller, _upstream) = answered(GET, both.chunk("hello").end_chunks()).await;
    assert_eq!(caller.head().await.all("content-length"), [""; 0]);
    assert_eq!(caller.rest().await, "5\r\nhello\r\n0\r\n\r\n");
}

/// The coding would be lost, and the body be taken for what it is not.
#[tokio::test]
async fn transfer_coding_other_than_chunked_once_is_refused() {
    for coding in [
        "gzip, chunked",
        "chunked, chunked",
        "chunked\r\ntransfer-encoding: chunked",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n"
        );
        let (mut caller, upstream) = answered(&request, Reply::ok("ok")).await;
        assert_eq!(caller.head().await.status(), 501, "{coding}");
        assert_eq!(upstream.requests().len(), 0, "{coding}");

        let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n");
        let coded = Reply::raw(format!("{head}5\r\nhello\r\n0\r\n\r\n"));
        let (mut caller, _upstream) = answered(GET, coded).await;
        assert_eq!(caller.head().await.status(), 502, "{coding}");
    }
}

/// hyper would hand the chunks on as they are.
#[tokio::test]
async fn answer_with_malformed_transfer_coding_is_502() {
    for coding in ["chunked,", "", "\u{fc}"] {
        let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n");
        let coded = Reply::raw(format!("{head}5\r\nhello\r\n0\r\n\r\n"));
        let (mut caller, _upstream) = answered(GET, coded).await;
        assert_eq!(caller.head().await.status(), 502, "{coding:?}");
    }
}

#[tokio::test]
async fn an_interim_answer_is_not_the_answer() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (mut caller, _upstream) = answered(GET, Reply::raw(format!("{hints}{answer}"))).await;
    assert_eq!(caller.head().await.status(), 200);
    assert_eq!(caller.rest().await, "ok");
}

#[tokio::test]
async fn protocol_switch_by_the_upstream_is_502() {
    let request = "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let (mut caller, _upstream) = answered(request, Reply::upgrade("x")).await;
    assert_eq!(caller.head().await.status(), 502);
}

#[tokio::test]
async fn http10_caller_gets_chunks_as_plain_bytes() {
    let (mut caller, _upstream) = answered(
        "GET / HTTP/1.0\r\n\r\n",
        Reply::chunked().chunk("hel").chunk("lo").end_chunks(),
    )
    .await;
    let head = caller.head().await;
    assert_eq!(head.all("transfer-encoding"), [""; 0]);
    assert_eq!(caller.rest().await, "hello");
}

#[tokio::test]
async fn expect_header_is_answered_with_100_continue() {
    let request = "POST / HTTP/1.1\r\nhost: a.test\r\nexpect: 100-continue\r\n\
                   content-length: 5\r\n\r\n";
    let (mut caller, _upstream) = answered(request, Reply::echo()).await;
    assert_eq!(caller.head().await.status(), 100);
    caller.send("hello").await;
    assert_eq!(caller.head().await.status(), 200);
    assert_eq!(caller.bytes(5).await, "hello");
}

/// hyper sends none for a GET or HEAD of unknown length, unless it is told to.
#[tokio::test]
async fn chunked_request_body_passes_for_every_method() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n\
             3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
        );
        let (mut caller, upstream) = answered(&request, Reply::ok("")).await;
        assert_eq!(caller.head().await.status(), 200, "{method}");
        let seen = upstream.requests().remove(0);
        assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
        assert_eq!(seen.body_len, 5, "{method}");
        assert!(seen.body_complete, "{method}");
    }
}

#[tokio::test]
async fn a_request_without_a_body_gains_none() {
    let (mut caller, upstream) = answered(GET, Reply::ok("")).await;
    caller.head().await;
    let seen = upstream.requests().remove(0);
    assert_eq!(seen.header("transfer-encoding"), None);
    assert_eq!(seen.header("content-length"), None);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let echo = async |request: Request| {
        let mut response = Response::new(request.into_body());
        let sum = HeaderValue::from_static("x-sum");
        response.headers_mut().insert(TRAILER, sum);
        response
    };
    let upstream = serve(Router::new().fallback(echo)).await;
    let site = Site::with(upstream, Client::builder(), DEADLINE).await;
    let body = "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n";
    let request = format!(
        "POST / HTTP/1.1\r\nhost: a.test\r\nte: trailers\r\nconnection: te\r\n\
         transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n{body}"
    );
    let mut caller = site.call(request).await;
    assert_eq!(caller.head().await.all("trailer"), ["x-sum"]);
    assert_eq!(caller.bytes(body.len()).await, body);
}
