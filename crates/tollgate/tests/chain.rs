//! The chain of an error, as an application shows it that prints each source.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::error::Error as _;
use std::time::Duration;

use support::client_with;
use tollgate::cached_dns::StaticHosts;
use tollgate::{Client, Error, ErrorKind, RetryPolicy};
use tollgate_testing::{Connector, Hole, Refused, Reply, Upstream};

/// The error and its sources, one a line.
fn lines(error: &Error) -> Vec<String> {
    let mut lines = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        lines.push(error.to_string());
        next = error.source();
    }
    lines
}

async fn fails(client: &Client, uri: impl ToString) -> Error {
    client.get(uri.to_string()).await.err().unwrap()
}

/// No line has a time of more than four digits.
fn are_rounded(lines: &[String]) {
    for word in lines
        .iter()
        .flat_map(|line| line.split([' ', ',', ':', ';']))
    {
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        if ["ns", "µs", "ms", "s"].contains(&unit) {
            assert!(word.len() - unit.len() <= 5, "{lines:#?}");
        }
    }
}

fn count(lines: &[String], text: &str) -> usize {
    lines.iter().map(|line| line.matches(text).count()).sum()
}

#[tokio::test]
async fn refused_dial_names_its_address_once() {
    let refused = Refused::start([127, 0, 0, 1]);
    let addr = refused.addr().to_string();
    let lines = lines(&fails(&client_with(|b| b), format!("http://{addr}/")).await);
    assert!(lines[0].contains(&format!("http://{addr}")), "{lines:#?}");
    assert_eq!(count(&lines[1..], &addr), 1, "{lines:#?}");
    are_rounded(&lines);
}

#[tokio::test]
async fn connect_timeout_advises_once_at_each_level() {
    let hole = Hole::start([127, 0, 0, 1]).await;
    let client = client_with(|b| b.connect_timeout(Duration::from_millis(60)));
    let lines = lines(&fails(&client, format!("http://{}/", hole.addr())).await);
    assert_eq!(
        count(&lines, "whether a firewall drops its packets"),
        2,
        "{lines:#?}"
    );
    assert_eq!(
        count(&lines[1..], &hole.addr().to_string()),
        1,
        "{lines:#?}"
    );
    are_rounded(&lines);
}

#[tokio::test]
async fn times_of_broken_exchanges_are_rounded() {
    let client = client_with(|b| b.retry(RetryPolicy::NEVER));
    for reply in [
        Reply::nothing().close(),
        Reply::raw("SSH-2.0\r\n\r\n").close(),
    ] {
        let upstream = Upstream::start(move |_| reply.clone()).await;
        are_rounded(&lines(&fails(&client, upstream.uri("/")).await));
    }
    let cut = || {
        Reply::head(200)
            .header("content-length", "9")
            .body("a")
            .reset()
    };
    let upstream = Upstream::start(move |_| cut()).await;
    let body = client.get(upstream.uri("/")).await.unwrap().into_body();
    are_rounded(&lines(&body.collect_within(9).await.unwrap_err()));
}

#[tokio::test]
async fn closed_after_sent_names_connection_and_reuse() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/good" => Reply::ok("ok"),
        _ => Reply::nothing().close(),
    })
    .await;
    let client = client_with(|b| b.retry(RetryPolicy::NEVER));
    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::ClosedAfterSent);
    assert!(
        error
            .to_string()
            .starts_with("connection 1 to http://127.0.0.1"),
        "{error}"
    );
    assert!(error.to_string().contains("which was new"), "{error}");

    let body = client.get(upstream.uri("/good")).await.unwrap().into_body();
    body.collect_within(9).await.unwrap();
    let error = fails(&client, upstream.uri("/")).await;
    let timings = error.timings();
    assert_eq!((timings.connection, timings.reused), (2, true), "{error}");
    let local = timings.local.expect("a socket of this machine");
    for part in [
        "which had served before",
        "had been idle for",
        &format!("(from {local})"),
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
    // Once, as the origin.
    let remote = timings.remote.expect("a socket").to_string();
    assert_eq!(error.to_string().matches(&remote).count(), 1, "{error}");
}

#[tokio::test(start_paused = true)]
async fn closed_after_sent_names_the_idle_time() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/good" => Reply::ok("ok"),
        _ => Reply::nothing().close(),
    })
    .await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| b.connector(connector).retry(RetryPolicy::NEVER));
    let origin = "http://billing.internal";
    let body = client
        .get(format!("{origin}/good"))
        .await
        .unwrap()
        .into_body();
    body.collect_within(9).await.unwrap();
    tokio::time::advance(Duration::from_secs(20)).await;
    let error = fails(&client, origin).await;
    assert_eq!(error.timings().idle, Some(Duration::from_secs(20)));
    assert!(
        error.to_string().contains("had been idle for 20s, closed"),
        "{error}"
    );
}

#[tokio::test]
async fn dns_error_of_unknown_name_is_not_retryable() {
    let client = client_with(|b| b.resolver(StaticHosts::new()));
    let error = fails(&client, "http://nowhere.internal/").await;
    assert_eq!(error.kind(), ErrorKind::Dns);
    assert!(error.nothing_sent() && !error.is_retryable(), "{error}");
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_certificate_of_another_issuer_is_not_retryable() {
    use std::net::Ipv4Addr;
    use support::trusting_one;
    use tollgate_testing::tls::{Authority, Server};

    let server = Server::new(Authority::new().issue("localhost")).start();
    let names = StaticHosts::new().host("localhost", [Ipv4Addr::LOCALHOST.into()]);
    let client = client_with(|b| b.resolver(names).tls(trusting_one()));
    let error = fails(
        &client,
        format!("https://localhost:{}/", server.addr().port()),
    )
    .await;
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.nothing_sent() && !error.is_retryable(), "{error}");
    are_rounded(&lines(&error));
}
