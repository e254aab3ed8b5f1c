//! What goes on, what ends here, and what the gateway says itself.

use tollgate_testing::upstream::Request;
use tollgate_testing::{Reply, Upstream};

use super::support::{Head, Site};

/// What the upstream sees of a request, and the caller of an answer.
async fn exchange(request: &str, reply: Reply) -> (Request, Head) {
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let site = Site::before(&upstream).await;
    let head = site.call(request).await.head().await;
    (upstream.requests().remove(0), head)
}

async fn seen(request: &str) -> Request {
    let (seen, head) = exchange(request, Reply::ok("ok")).await;
    assert_eq!(head.status(), 200);
    seen
}

fn all<'a>(seen: &'a Request, name: &str) -> Vec<&'a str> {
    let lines = seen.headers.iter().filter(|(known, _)| known == name);
    lines.map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn upstream_gets_own_host_and_forwarded_headers() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let site = Site::before(&upstream).await;
    site.get("").await.head().await;
    let seen = upstream.requests().remove(0);
    assert_eq!(all(&seen, "host"), [upstream.addr().to_string()]);
    assert_eq!(all(&seen, "x-forwarded-host"), ["a.test"]);
    assert_eq!(all(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(all(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(all(&seen, "via"), ["1.1 tollgate"]);
}

#[tokio::test]
async fn caller_cannot_forge_forwarded_host_or_proto() {
    let said = "x-forwarded-host: evil.test\r\nx-forwarded-proto: https\r\n\r\n";
    let nameless = seen(&format!("GET / HTTP/1.0\r\n{said}")).await;
    assert_eq!(all(&nameless, "x-forwarded-host"), [""; 0]);
    assert_eq!(all(&nameless, "x-forwarded-proto"), ["http"]);
    let named = seen(&format!("GET / HTTP/1.1\r\nhost: a.test\r\n{said}")).await;
    assert_eq!(all(&named, "x-forwarded-host"), ["a.test"]);
}

/// RFC 9112 section 3.2.2.
#[tokio::test]
async fn target_authority_wins_over_the_host_header() {
    let seen = seen("GET http://me:pw@b.test:81/x?y=1 HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert_eq!(seen.target, "/x?y=1");
    assert_eq!(all(&seen, "x-forwarded-host"), ["b.test:81"]);
}

/// RFC 9112 section 3.2.
#[tokio::test]
async fn an_invalid_host_header_is_a_bad_request() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let site = Site::before(&upstream).await;
    for lines in [
        "",
        "host: a.test\r\nhost: a.test\r\n",
        "host: a.test/x\r\n",
        "host: me@a.test\r\n",
    ] {
        let mut caller = site.call(format!("GET / HTTP/1.1\r\n{lines}\r\n")).await;
        assert_eq!(caller.head().await.status(), 400, "{lines:?}");
    }
    assert_eq!(upstream.requests().len(), 0);
    let empty = seen("GET / HTTP/1.1\r\nhost:\r\n\r\n").await;
    assert_eq!(all(&empty, "x-forwarded-host"), [""; 0]);
}

#[tokio::test]
async fn what_concerns_one_connection_ends_here_both_ways() {
    let own = "connection: x-own, keep-alive\r\nx-own: 1\r\nkeep-alive: timeout=5\r\nx-end: 2\r\n";
    let request = format!("GET / HTTP/1.1\r\nhost: a.test\r\nupgrade: x\r\n{own}\r\n");
    let reply = Reply::ok("ok")
        .header("connection", "x-own, keep-alive")
        .header("x-own", "1")
        .header("keep-alive", "timeout=5")
        .header("x-end", "2");
    let (seen, head) = exchange(&request, reply).await;
    for name in ["connection", "x-own", "keep-alive", "upgrade"] {
        assert_eq!(all(&seen, name), [""; 0], "{name} upstream");
        assert_eq!(head.all(name), [""; 0], "{name} to the caller");
    }
    assert_eq!(
        (all(&seen, "x-end"), head.all("x-end")),
        (vec!["2"], vec!["2"])
    );
    assert_eq!(head.all("via"), ["1.1 tollgate"]);
}

/// Whoever could name them in `Connection` could hide who asks.
#[tokio::test]
async fn connection_header_cannot_strip_end_to_end_headers() {
    let names = "host, via, forwarded, x-forwarded-for, authorization, content-length";
    let seen = seen(&format!(
        "POST / HTTP/1.1\r\nhost: a.test\r\nconnection: {names}\r\nvia: 1.1 front\r\n\
         forwarded: for=192.0.2.1\r\nx-forwarded-for: 192.0.2.1\r\nauthorization: Bearer x\r\n\
         content-length: 2\r\n\r\nok"
    ))
    .await;
    assert_eq!(all(&seen, "x-forwarded-host"), ["a.test"]);
    assert_eq!(all(&seen, "via"), ["1.1 front", "1.1 tollgate"]);
    assert_eq!(all(&seen, "forwarded"), ["for=192.0.2.1"]);
    assert_eq!(all(&seen, "x-forwarded-for"), ["192.0.2.1", "127.0.0.1"]);
    assert_eq!(all(&seen, "authorization"), ["Bearer x"]);
    assert_eq!(all(&seen, "content-length"), ["2"]);
    assert_eq!(all(&seen, "connection"), [""; 0]);
}

#[tokio::test]
async fn that_trailers_are_welcome_is_said_anew() {
    let get = "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: te\r\n";
    let welcome = seen(&format!("{get}te: gzip, trailers\r\n\r\n")).await;
    assert_eq!(all(&welcome, "te"), ["trailers"]);
    assert_eq!(all(&welcome, "connection"), ["te"]);
    assert_eq!(
        all(&seen(&format!("{get}te: gzip\r\n\r\n")).await, "te"),
        [""; 0]
    );
}
