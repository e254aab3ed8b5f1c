//! What the transport's failures are to a caller that knows statuses only.

use std::time::Duration;

use tokio::time::Instant;
use tollgate::cached_dns::CachedDns;
use tollgate::connect_timeout::ConnectTimeoutLayer;
use tollgate::dial::Dial;
use tollgate::{Client, ErrorKind, Phase, Protocol, find};
use tollgate_testing::{Hole, Refused};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tower::Layer;

use crate::greeter::{GreeterClient, Hello};
use crate::server::Upstream;

const BUDGET: Duration = Duration::from_millis(150);
const LATE: Duration = Duration::from_millis(500);

fn client() -> Client {
    let client = Client::builder().protocol(Protocol::Http2);
    client.connect_timeout(BUDGET).build().unwrap()
}

async fn fails(client: &Client, uri: &str) -> Status {
    let mut greeter = GreeterClient::with_origin(client.clone(), uri.parse().unwrap());
    greeter.say_hello(Hello::new("hello")).await.unwrap_err()
}

fn kind(status: &Status) -> ErrorKind {
    find::<tollgate::Error>(status).unwrap().kind()
}

#[tokio::test]
async fn every_connect_failure_is_unavailable_with_its_kind() {
    let refused = Refused::start([127, 0, 0, 1]);
    let status = fails(&client(), &format!("http://{}", refused.addr())).await;
    assert_eq!(
        (status.code(), kind(&status)),
        (Code::Unavailable, ErrorKind::ConnectRefused)
    );
    assert!(
        status
            .message()
            .starts_with("could not connect to http://127.0.0.1"),
        "{status}"
    );

    let hole = Hole::start([127, 0, 0, 1]).await;
    let started = Instant::now();
    let status = fails(&client(), &format!("http://{}", hole.addr())).await;
    assert!((BUDGET..BUDGET + LATE).contains(&started.elapsed()));
    let timed_out = ErrorKind::ConnectTimeout { phase: Phase::Tcp };
    assert_eq!(
        (status.code(), kind(&status)),
        (Code::Unavailable, timed_out)
    );

    let drained = client();
    drained.close();
    let status = fails(&drained, "http://127.0.0.1:1").await;
    assert_eq!(
        (status.code(), kind(&status)),
        (Code::Unavailable, ErrorKind::Closed)
    );
}

#[tokio::test]
async fn a_full_queue_is_resource_exhausted() {
    let upstream = Upstream::plain().await;
    let one = std::num::NonZeroUsize::MIN;
    let options = tollgate::Http2Options::new()
        .max_http2_connections(one)
        .max_streams_per_connection(one);
    let client = upstream.client_with(|builder| builder.http2(options).max_waiting(0));
    let held = upstream
        .greeter_over(&client)
        .count(Hello::new("ever"))
        .await
        .unwrap();
    let status = upstream
        .greeter_over(&client)
        .say_hello(Hello::new("hello"))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), kind(&status)),
        (Code::ResourceExhausted, ErrorKind::QueueFull)
    );
    drop(held);
    upstream.at_rest(&client).await;
}

#[tokio::test]
async fn plain_request_error_has_no_grpc_status() {
    let refused = Refused::start([127, 0, 0, 1]);
    let error = client().get(format!("http://{}/", refused.addr())).await;
    let error = error.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectRefused);
    assert!(find::<Status>(&error).is_none(), "{error:?}");
}

/// tonic's own channel, over our connector.
fn channel(uri: &str) -> Channel {
    let connector = ConnectTimeoutLayer::new(BUDGET).layer(Dial::new(CachedDns::gai()));
    Endpoint::from_shared(uri.to_owned())
        .unwrap()
        .connect_with_connector_lazy(connector)
}

#[tokio::test]
async fn channels_exhausted_connect_budget_is_unavailable() {
    let hole = Hole::start([127, 0, 0, 1]).await;
    let uri = format!("http://{}", hole.addr());
    let mut greeter = GreeterClient::with_origin(channel(&uri), uri.parse().unwrap());
    let started = Instant::now();
    let status = greeter.say_hello(Hello::new("hello")).await.unwrap_err();
    assert!((BUDGET..BUDGET + LATE).contains(&started.elapsed()));
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let late = find::<tollgate::connect_timeout::ConnectTimedOut>(&status).unwrap();
    assert_eq!((late.phase(), late.total()), (Phase::Tcp, BUDGET));
}

#[tokio::test]
async fn a_client_reports_deadline_exceeded() {
    let upstream = Upstream::tls();
    let client = upstream.client();
    let mut request = Request::new(Hello::new("hang"));
    request.set_timeout(BUDGET);
    let status = upstream
        .greeter_over(&client)
        .say_hello(request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

/// A channel ends a call at its deadline by itself and calls that `Cancelled`, whatever is below it; the
/// server's word for it comes through as it is.
#[tokio::test]
async fn a_channel_reports_a_deadline_the_server_reports() {
    let upstream = Upstream::plain().await;
    let channel = channel(&upstream.uri.to_string());
    let mut greeter = GreeterClient::with_origin(channel, upstream.uri.clone());
    let mut request = Request::new(Hello::new("late"));
    request.set_timeout(Duration::from_secs(5));
    let status = greeter.say_hello(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");

    let mut request = Request::new(Hello::new("hang"));
    request.set_timeout(BUDGET);
    let status = greeter.say_hello(request).await.unwrap_err();
    assert_eq!(
        status.code(),
        Code::Cancelled,
        "tonic's own word: {status:?}"
    );
}
