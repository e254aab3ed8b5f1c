//! Every error a caller meets, by the event that brings it about.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod connect;
mod exchange;
mod queue;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::client_with;
use support::words::says_all;
use tollgate::{Client, Error, ErrorKind};

const SECOND: Duration = Duration::from_secs(1);

async fn fails(client: &Client, uri: impl ToString) -> Error {
    let error = client.get(uri.to_string()).await.err().unwrap();
    says_all(&error);
    error
}

#[tokio::test]
async fn request_without_absolute_uri_is_invalid() {
    let client = client_with(|b| b);
    for uri in ["/only/a/path", "not a uri", ""] {
        let error = fails(&client, uri).await;
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{uri}");
        assert!(error.nothing_sent() && !error.is_retryable());
        assert!(error.to_string().contains("absolute"), "{error}");
    }
    assert_eq!(
        client.warm("nothing", 1).unwrap_err().kind(),
        ErrorKind::InvalidRequest
    );
}

#[test]
fn a_call_outside_a_runtime_says_so() {
    let client = client_with(|b| b);
    let mut call = std::pin::pin!(client.get("http://127.0.0.1:9/"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = call.as_mut().poll(&mut cx) else {
        panic!("waits without a runtime");
    };
    assert_eq!(error.kind(), ErrorKind::NoRuntime);
}

#[test]
fn guide_error_table_matches_error_kinds() {
    let rows: Vec<(&str, bool)> = include_str!("../../src/guide/errors.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let mut cells = row.split('|').map(str::trim);
            let label = cells.next().unwrap().trim_end_matches('`');
            (label, cells.nth(1).unwrap() == "yes")
        })
        .collect();
    let kinds: Vec<_> = ErrorKind::ALL
        .iter()
        .map(|kind| (kind.label(), kind.is_retryable()))
        .collect();
    assert_eq!(rows, kinds);
}
