//! The client over a real loopback upstream and a scripted DNS server.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod names;
#[path = "../support/mod.rs"]
mod support;
mod types;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Full};
use support::{cached, client_with, text};
use tokio::task::JoinSet;
use tollgate::{Client, ErrorKind, OriginClient};
use tollgate_testing::dns::{Answer, DnsServer, RecordType};
use tollgate_testing::{Gate, Plain, Recorded, Recorder, Reply, Upstream};
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::test]
async fn a_second_get_reuses_the_connection() {
    let upstream = Upstream::start(|_| Reply::ok("invoices")).await;
    let dns = DnsServer::start().await;
    dns.set(
        "billing.internal",
        Answer::addrs([upstream.addr().ip()]).ttl(30),
    );
    let client = Client::builder()
        .resolver(cached::hickory(&dns))
        .max_connections_per_origin(4)
        .build()
        .unwrap();
    let origin = format!("http://billing.internal:{}", upstream.addr().port());

    let response = client.get(format!("{origin}/v1/invoices")).await.unwrap();
    assert_eq!(response.status(), 200);
    let first = response.body().timings();
    assert_eq!(text(response).await, "invoices");
    let response = client.get(format!("{origin}/v1/invoices")).await.unwrap();
    let second = response.body().timings();
    assert_eq!(text(response).await, "invoices");

    assert!(!first.reused && first.dns.is_some() && first.connect.is_some());
    assert!(second.reused && second.remote == Some(upstream.addr()));
    let stats = client.stats(&origin).unwrap();
    assert_eq!(
        (stats.open, stats.idle, stats.active, stats.limit),
        (1, 1, 0, Some(4))
    );
    assert_eq!((stats.opened, stats.reused, stats.queued), (1, 1, 0));
    assert_eq!(dns.count("billing.internal", RecordType::A), 1);
    let snapshot = client.snapshot();
    assert_eq!(snapshot.origins.len(), 1);
    assert_eq!(&*snapshot.names[0].name, "billing.internal");
    assert!(snapshot.to_string().contains(&origin));
    assert_eq!(client.stats("http://nobody.internal").map(|s| s.open), None);
    assert_eq!(client.stats("no origin").map(|s| s.open), None);
}

#[tokio::test]
async fn cap_holds_at_eight_times_its_concurrency() {
    let upstream = Plain::builder()
        .latency(Duration::from_millis(2))
        .start()
        .await;
    let client = client_with(|b| b.max_connections_per_origin(8).max_waiting(1000));
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let client = client.clone();
        let uri = upstream.uri("/");
        calls.spawn(async move {
            for _ in 0..10 {
                let response = client.get(uri.clone()).await.unwrap();
                response.into_body().collect().await.unwrap();
            }
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    let seen = upstream.stats();
    assert_eq!(seen.requests, 640);
    assert!(seen.peak_live <= 8, "{seen:?}");
    assert_eq!(seen.accepted, 8, "{seen:?}");
    let stats = &client.snapshot().origins[0];
    assert_eq!((stats.open, stats.queued, stats.refused), (8, 0, 0));
}

#[tokio::test]
async fn one_origin_has_a_cap_of_its_own() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let origin = format!("http://{}", upstream.addr());
    let client = client_with(|b| {
        b.max_connections_per_origin(1)
            .origin(&*origin, |o| o.max_connections_per_origin(3))
    });
    let mut calls = JoinSet::new();
    for _ in 0..5 {
        calls.spawn(client.get(upstream.uri("/")));
    }
    upstream.settled(|stats| stats.live == 3).await;
    assert_eq!(client.stats(&origin).unwrap().limit, Some(3));
    gate.open();
    while let Some(done) = calls.join_next().await {
        done.unwrap().unwrap().into_body().collect().await.unwrap();
    }
    assert_eq!(upstream.peak_live(), 3);
}

#[tokio::test]
async fn the_client_stands_under_tower_https_layers() {
    use http::header::{HeaderValue, USER_AGENT};
    use tower_http::decompression::DecompressionLayer;
    use tower_http::follow_redirect::FollowRedirectLayer;
    use tower_http::set_header::SetRequestHeaderLayer;
    use tower_http::timeout::TimeoutLayer;
    use tower_http::trace::TraceLayer;
    // "invoices", by gzip.
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xcb\xcc\x2b\xcb\xcf\x4c\x4e\x2d\x06\x00\x95\x2f\x2f\x6a\x08\x00\x00\x00";
    let upstream = Upstream::start(|request| match &*request.target {
        "/old" => Reply::head(307)
            .header("location", "/new")
            .header("content-length", "0"),
        "/slow" => Reply::never(),
        _ => {
            assert_eq!(request.header("user-agent"), Some("billing/1"));
            assert_eq!(request.header("accept-encoding"), Some("gzip"));
            Reply::head(200)
                .header("content-encoding", "gzip")
                .header("content-length", &GZIP.len().to_string())
                .body(GZIP)
        }
    })
    .await;
    let limit = Duration::from_millis(500);
    let client = client_with(|b| b);
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(TimeoutLayer::with_status_code(
            http::StatusCode::GATEWAY_TIMEOUT,
            limit,
        ))
        .layer(FollowRedirectLayer::new())
        .layer(SetRequestHeaderLayer::overriding(
            USER_AGENT,
            HeaderValue::from_static("billing/1"),
        ))
        .layer(DecompressionLayer::new())
        .service(client.clone());
    let get = |path| {
        let request = Request::get(upstream.uri(path)).body(Full::<Bytes>::default());
        service.clone().oneshot(request.unwrap())
    };
    let response = get("/old").await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "invoices");
    // A timeout above drops the call, which closes that one connection.
    assert_eq!(get("/slow").await.unwrap().status(), 504);
    upstream.settled(|stats| stats.live == 0).await;
    let stats = client.stats(&upstream.uri("/").to_string()).unwrap();
    assert_eq!((stats.active, stats.queued), (0, 0));
}

async fn ready(service: &mut OriginClient) -> &mut OriginClient {
    ServiceExt::<Request<Empty<Bytes>>>::ready(service)
        .await
        .unwrap()
}

#[tokio::test]
async fn single_origin_service_takes_path_only_requests() {
    let upstream = Upstream::start(|request| Reply::ok(request.target.clone())).await;
    let client = client_with(|b| b.max_connections_per_origin(1));
    let mut billing = client
        .origin(&format!("http://{}", upstream.addr()))
        .unwrap();
    let request = || Request::get("/v1").body(Empty::<Bytes>::new()).unwrap();
    let call = ready(&mut billing).await.call(request());

    // The one connection is reserved: a clone is not ready.
    let mut other = billing.clone();
    let waited = tokio::time::timeout(Duration::from_millis(20), ready(&mut other)).await;
    assert!(waited.is_err());
    assert_eq!(text(call.await.unwrap()).await, "/v1");
    assert_eq!(
        text(ready(&mut other).await.call(request()).await.unwrap()).await,
        "/v1"
    );
    assert_eq!(
        client.origin("nothing").unwrap_err().kind(),
        ErrorKind::InvalidRequest
    );
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn snapshot_serializes_its_origins_and_names() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let client = client_with(|b| b);
    text(client.get(upstream.uri("/")).await.unwrap()).await;
    let snapshot = serde_json::to_value(client.snapshot()).unwrap();
    let origin = &snapshot["origins"][0];
    assert_eq!(origin["origin"], format!("http://{}", upstream.addr()));
    assert_eq!(
        (&origin["open"], &origin["limit"]),
        (&1.into(), &128.into())
    );
    assert!(snapshot["names"].is_array() && snapshot["dns"].is_object());
}

#[tokio::test]
async fn dropped_client_closes_its_connections() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let client = client_with(|b| b);
    text(client.get(upstream.uri("/")).await.unwrap()).await;
    assert_eq!(upstream.live(), 1);
    drop(client);
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn drain_finishes_running_exchange_and_refuses_others() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let client = client_with(|b| b);
    let running = tokio::spawn(client.get(upstream.uri("/")));
    gate.reached(1).await;
    let draining = tokio::spawn({
        let client = client.clone();
        async move { client.drain(Duration::from_secs(10)).await }
    });
    // It begins to drain when its task has run once.
    tokio::task::yield_now().await;
    let error = client.get(upstream.uri("/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.nothing_sent() && !error.is_retryable());
    gate.open();
    text(running.await.unwrap().unwrap()).await;
    assert_eq!(draining.await.unwrap(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_an_origin_like_others() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let path = std::env::temp_dir().join(format!("tollgate-{}.sock", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        for _ in 0..2 {
            let n = stream.read(&mut head).await.unwrap();
            assert!(head[..n].ends_with(b"\r\n\r\n"));
            let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(ok).await.unwrap();
        }
    });
    let upstream = Upstream::start(|_| Reply::ok("tcp")).await;
    let dial = tollgate::dial::DialLayer::new().unix_socket("docker.internal", &path);
    let client = client_with(|b| b.dial(dial));
    for _ in 0..2 {
        let response = client.get("http://docker.internal/version").await.unwrap();
        assert_eq!(text(response).await, "ok");
        assert_eq!(
            text(client.get(upstream.uri("/")).await.unwrap()).await,
            "tcp"
        );
    }
    server.await.unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(client.stats("http://docker.internal").unwrap().reused, 1);
}

#[tokio::test]
async fn warming_opens_connections_that_requests_then_use() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let client = client_with(|b| b);
    let origin = format!("http://{}", upstream.addr());
    client.warm(&origin, 2).unwrap();
    upstream.settled(|stats| stats.live == 2).await;
    text(client.get(upstream.uri("/")).await.unwrap()).await;
    assert_eq!(upstream.accepted(), 2);
}

#[tokio::test]
async fn two_observers_see_the_same_events() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let seen = [(); 2].map(|()| Recorder::of_pool());
    let client = client_with(|b| b.observer(seen[0].clone()).observer(seen[1].clone()));
    text(client.get(upstream.uri("/")).await.unwrap()).await;
    assert!(seen[0].seen().contains(&Recorded::Opened(1)));
    assert_eq!(seen[0].take(), seen[1].take());
}

#[tokio::test]
async fn second_install_fails_and_the_first_stays() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let origin = upstream.uri("/").to_string();
    let limit = async || {
        let client = tollgate::client();
        text(client.get(&*origin).await.unwrap()).await;
        client.stats(&origin).unwrap().limit
    };
    // A library that asks early gets the defaults, and installs nothing by that.
    assert_eq!(limit().await, Some(128));
    tollgate::install(client_with(|b| b.max_connections_per_origin(7))).unwrap();
    assert_eq!(limit().await, Some(7));
    let error = tollgate::install(client_with(|b| b)).unwrap_err();
    assert!(error.to_string().contains("stays"));
    assert_eq!(limit().await, Some(7));
}
