//! Exchanges that last: connections of their own, counted apart.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use support::{client_with, text};
use tollgate::{Body, Client, ErrorKind, Event, LongLived, OriginStats, ResponseFuture};
use tollgate_testing::{Connector, Gate, Recorder, Reply, Upstream};
use tower::{Service, ServiceExt};

const ORIGIN: &str = "http://billing.internal";

/// An upstream whose events end when the gate opens, and a client with a cap of one call and two
/// exchanges that last.
async fn stack(gate: &Gate) -> (Client, Upstream, Arc<Recorder<()>>) {
    let gate = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/events" => Reply::chunked().chunk("one").wait(&gate).end_chunks(),
        "/chat" => Reply::upgrade("echo"),
        _ => Reply::ok("paid"),
    })
    .await;
    let opened = Recorder::new(|event| matches!(event, Event::Opened { .. }).then_some(()));
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| {
        b.connector(connector)
            .max_connections_per_origin(1)
            .max_long_lived_per_origin(2)
            .long_lived_observer(opened.clone())
            .timeout(Duration::from_secs(10))
    });
    (client, upstream, opened)
}

fn events(client: &Client) -> ResponseFuture {
    let request = Request::get(format!("{ORIGIN}/events")).header("accept", "text/event-stream");
    client.request(request.body(Body::default()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn streams_of_events_take_no_connection_from_calls() {
    let gate = Gate::new();
    let (client, _upstream, opened) = stack(&gate).await;
    let (one, two) = (
        events(&client).await.unwrap(),
        events(&client).await.unwrap(),
    );
    assert_eq!(text(client.get(ORIGIN).await.unwrap()).await, "paid");
    let third = events(&client).await.unwrap_err();
    assert_eq!(third.kind(), ErrorKind::QueueFull, "{third}");

    let (calls, lasting) = (
        client.stats(ORIGIN).unwrap(),
        client.long_lived_stats(ORIGIN).unwrap(),
    );
    assert_eq!((calls.active, calls.limit), (0, Some(1)));
    assert_eq!((lasting.active, lasting.limit), (2, Some(2)));
    assert_eq!(opened.count(), 2);
    assert_eq!(client.snapshot().long_lived[0].active, 2);

    // Neither ends with the client's limit on a call.
    tokio::time::advance(Duration::from_secs(60)).await;
    gate.open();
    assert_eq!(text(one).await, "one");
    assert_eq!(text(two).await, "one");
    assert_eq!(client.long_lived_stats(ORIGIN).unwrap().active, 0);
}

#[tokio::test(start_paused = true)]
async fn websocket_holds_a_connection_until_it_drops() {
    let (client, _upstream, _) = stack(&Gate::new()).await;
    let request = Request::get(format!("{ORIGIN}/chat"))
        .header("connection", "upgrade")
        .header("upgrade", "echo");
    let response = client
        .request(request.body(Body::default()).unwrap())
        .await
        .unwrap();
    let tunnel = hyper::upgrade::on(response).await.unwrap();
    let active = || {
        client
            .long_lived_stats(ORIGIN)
            .map_or(0, |stats| stats.active)
    };
    assert_eq!(active(), 1);
    assert!(
        client.stats(ORIGIN).is_none(),
        "the pool of calls has not met the origin"
    );
    drop(tunnel);
    while active() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_marked_request_is_one_that_lasts() {
    let (client, _upstream, opened) = stack(&Gate::new()).await;
    let request = Request::get(ORIGIN).extension(LongLived);
    text(
        client
            .request(request.body(Body::default()).unwrap())
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(opened.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_exchanges_that_last_too() {
    let gate = Gate::new();
    let (client, _upstream, _) = stack(&gate).await;
    let body = events(&client).await.unwrap();
    let draining = client.clone();
    let drained = tokio::spawn(async move { draining.drain(Duration::from_secs(5)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!drained.is_finished());
    assert_eq!(drained.await.unwrap(), 1, "one was cut");
    drop(body);
}

#[test]
fn a_cap_of_zero_is_refused_by_name() {
    let error = Client::builder()
        .max_long_lived_per_origin(0)
        .build()
        .unwrap_err();
    assert_eq!(error.field(), "max_long_lived_per_origin");
}

#[tokio::test(start_paused = true)]
async fn uncapped_long_lived_exchanges_share_call_connections() {
    let upstream = Upstream::start(|_| Reply::ok("paid")).await;
    let client = client_with(|b| b.connector(Connector::memory(&upstream)));
    text(events(&client).await.unwrap()).await;
    assert_eq!(client.stats(ORIGIN).unwrap().opened, 1);
    assert!(client.long_lived_stats(ORIGIN).is_none());
}

#[tokio::test(start_paused = true)]
async fn origin_handle_sends_events_over_separate_connections() {
    let gate = Gate::new();
    let (client, _upstream, opened) = stack(&gate).await;
    let mut handle = client.origin(ORIGIN).unwrap();
    let handle = ServiceExt::<Request<Body>>::ready(&mut handle)
        .await
        .unwrap();
    assert_eq!(client.stats(ORIGIN).unwrap().active, 1, "it is reserved");
    let request = Request::get("/events").header("accept", "text/event-stream");
    let stream = handle.call(request.body(Body::default()).unwrap()).await;
    let stream = stream.unwrap();

    let calls = client.stats(ORIGIN).unwrap();
    assert_eq!((calls.active, calls.idle), (0, 1), "and was given back");
    assert_eq!(client.long_lived_stats(ORIGIN).unwrap().active, 1);
    assert_eq!(opened.count(), 1);

    // Neither its own calls wait behind it, nor does it end with the client's limit on a call.
    let ready = ServiceExt::<Request<Body>>::ready(handle).await.unwrap();
    let call = Request::get("/").body(Body::default()).unwrap();
    assert_eq!(text(ready.call(call).await.unwrap()).await, "paid");
    tokio::time::advance(Duration::from_secs(60)).await;
    gate.open();
    assert_eq!(text(stream).await, "one");
}

/// A client with a cap on all connections, and the connector below it.
async fn capped(gate: &Gate, total: usize) -> (Client, Upstream, Connector) {
    let gate = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/events" => Reply::chunked().chunk("one").wait(&gate).end_chunks(),
        _ => Reply::ok("paid"),
    })
    .await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| {
        b.connector(connector.clone())
            .max_connections_total(total)
            .max_long_lived_per_origin(2)
    });
    (client, upstream, connector)
}

#[tokio::test(start_paused = true)]
async fn total_of_one_passes_between_calls_and_events() {
    let gate = Gate::new();
    let (client, _upstream, connector) = capped(&gate, 1).await;
    for _ in 0..2 {
        gate.close();
        assert_eq!(text(client.get(ORIGIN).await.unwrap()).await, "paid");
        // The call's connection idles, and is closed for the stream.
        let stream = events(&client).await.unwrap();
        let call = tokio::spawn(client.get(ORIGIN));
        while client.stats(ORIGIN).unwrap().queued < 1 {
            tokio::task::yield_now().await;
        }
        gate.open();
        assert_eq!(text(stream).await, "one");
        assert_eq!(text(call.await.unwrap().unwrap()).await, "paid");
    }
    assert_eq!(connector.stats().peak_live, 1);
}

#[tokio::test(start_paused = true)]
async fn call_times_out_behind_an_open_stream() {
    let (client, _upstream, connector) = capped(&Gate::new(), 1).await;
    let stream = events(&client).await.unwrap();
    let error = client.get(ORIGIN).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueueTimeout, "{error}");
    let error = events(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueueTimeout, "{error}");
    drop(stream);
    assert_eq!(text(client.get(ORIGIN).await.unwrap()).await, "paid");
    assert_eq!(connector.stats().peak_live, 1);
}

/// What the handle had reserved for a call was the only place there is.
#[tokio::test(start_paused = true)]
async fn handle_gives_up_its_reservation_for_events() {
    let gate = Gate::opened();
    let (client, _upstream, connector) = capped(&gate, 1).await;
    let mut handle = client.origin(ORIGIN).unwrap();
    let handle = ServiceExt::<Request<Body>>::ready(&mut handle)
        .await
        .unwrap();
    let request = Request::get("/events").header("accept", "text/event-stream");
    let stream = handle.call(request.body(Body::default()).unwrap()).await;
    assert_eq!(text(stream.unwrap()).await, "one");
    assert_eq!(connector.stats().peak_live, 1);
}

#[tokio::test(start_paused = true)]
async fn total_cap_spans_calls_and_events() {
    let gate = Gate::new();
    let (client, _upstream, connector) = capped(&gate, 3).await;
    let streams = [
        events(&client).await.unwrap(),
        events(&client).await.unwrap(),
    ];
    let calls: Vec<_> = (0..32)
        .map(|number| {
            let call = client.get(format!("http://{}.internal", number % 4));
            tokio::spawn(async move { text(call.await.unwrap()).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "paid");
    }
    assert_eq!(connector.stats().peak_live, 3);
    let snapshot = client.snapshot();
    let open = |all: &[OriginStats]| all.iter().map(|one| one.open).sum::<usize>();
    assert_eq!(
        (open(&snapshot.origins), open(&snapshot.long_lived)),
        (1, 2)
    );
    gate.open();
    drop(streams);
}
