//! How far a request may go (RFC 9110 section 7.6.2).

use tollgate_testing::{Reply, Upstream};

use super::support::Site;

#[tokio::test]
async fn options_with_max_forwards_zero_is_answered() {
    counted_down("OPTIONS", 204).await;
}

/// To send the request back would tell what a proxy in front added to it.
#[tokio::test]
async fn trace_with_max_forwards_zero_is_refused() {
    counted_down("TRACE", 501).await;
}

/// Whoever names it in `Connection` does not get more hops.
async fn counted_down(method: &str, last: u16) {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let site = Site::before(&upstream).await;
    for (hops, status, left) in [
        ("0", last, None),
        ("1", 200, Some("0")),
        ("18446744073709551616", 200, Some("18446744073709551614")),
        ("-1", 400, None),
        ("", 400, None),
        ("1\r\nmax-forwards: 1", 400, None),
    ] {
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: a.test\r\nconnection: max-forwards\r\n\
             max-forwards: {hops}\r\n\r\n"
        );
        let head = site.call(request).await.head().await;
        assert_eq!(head.status(), status, "{hops:?}");
        if let Some(left) = left {
            let last = upstream.requests().pop().unwrap();
            assert_eq!(last.header("max-forwards"), Some(left));
        }
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn hops_of_other_methods_are_not_counted() {
    let get = "GET / HTTP/1.1\r\nhost: a.test\r\nmax-forwards: 0\r\n\r\n";
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let site = Site::before(&upstream).await;
    assert_eq!(site.call(get).await.head().await.status(), 200);
    assert_eq!(upstream.requests()[0].header("max-forwards"), Some("0"));
}
