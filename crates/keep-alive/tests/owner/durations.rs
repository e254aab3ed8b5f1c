//! Every `Duration` of the pool's options with nothing, next to nothing, and more than any clock has.

use std::time::Duration;

use tollgate_keep_alive::{Deadline, Http2Options, KeepAliveLayer, Protocol};
use tollgate_testing::http2::Http2Reply;
use tollgate_testing::{Connector, Http2Upstream, Reply, Upstream, within};
use tower::{Layer, ServiceExt};

use super::support::{LONG, cap, fetch, request};

const EXTREMES: [Duration; 3] = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];

type Setter = fn(KeepAliveLayer, Duration) -> KeepAliveLayer;

const OPTIONS: [(&str, Setter); 10] = [
    ("acquire_timeout", KeepAliveLayer::acquire_timeout),
    ("idle_timeout", KeepAliveLayer::idle_timeout),
    ("keep_alive_hint_max", KeepAliveLayer::keep_alive_hint_max),
    ("max_lifetime", KeepAliveLayer::max_lifetime),
    ("connect_timeout", KeepAliveLayer::connect_timeout),
    ("quarantine", KeepAliveLayer::quarantine),
    ("ping_timeout", |layer, limit| {
        layer.http2(Http2Options::new().ping_timeout(limit))
    }),
    ("drain_timeout", |layer, limit| {
        layer.http2(Http2Options::new().drain_timeout(Some(limit)))
    }),
    ("probe_after", |layer, limit| {
        layer.http2(Http2Options::new().probe_after(Some(limit)))
    }),
    ("ping_interval", |layer, limit| {
        layer.http2(Http2Options::new().ping_interval(Some(limit)))
    }),
];

#[tokio::test]
async fn no_duration_panics_or_loses_a_place() {
    let upstream = Upstream::start(|request| match request.nth {
        // Bytes that no request asked for, for the quarantine.
        0 => Reply::ok("ok").write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        _ => Reply::ok("ok").header("keep-alive", "timeout=4294967295"),
    })
    .await;
    for (name, set) in OPTIONS {
        for extreme in EXTREMES {
            let connector = Connector::tcp(upstream.addr());
            let layer = cap(1).max_connections_total(super::n(1));
            let pool = set(layer, extreme).layer(connector.clone());
            for _ in 0..3 {
                let answered = within(LONG, fetch(&pool, &upstream.uri("/"))).await;
                let none_in_time = name == "connect_timeout" || name == "acquire_timeout";
                assert!(
                    answered.is_ok() || (none_in_time && extreme < Duration::MAX),
                    "{name} {extreme:?}: {answered:?}"
                );
            }
            drop(pool);
            within(LONG, connector.settled(|stats| stats.live == 0)).await;
        }
    }
}

#[tokio::test]
async fn a_deadline_of_any_length_is_a_deadline() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool = cap(1).layer(Connector::tcp(upstream.addr()));
    for extreme in EXTREMES {
        let mut request = request("GET", &upstream.uri("/"));
        request.extensions_mut().insert(Deadline::after(extreme));
        let answered = pool.clone().oneshot(request).await;
        assert_eq!(answered.is_ok(), extreme == Duration::MAX, "{extreme:?}");
    }
}

/// Those of HTTP/2, whose driver panicked at the end of the clock.
#[tokio::test(start_paused = true)]
async fn no_duration_panics_over_http2() {
    for (name, set) in OPTIONS {
        // With a ping on its way at each look.
        let pinged = Http2Options::new().ping_interval(Some(Duration::from_millis(1)));
        for extreme in EXTREMES {
            let upstream = Http2Upstream::new(|_| Http2Reply::ok("ok"));
            let layer = cap(1).max_connections_total(super::n(1)).http2(pinged);
            let layer = match name {
                "ping_timeout" => layer.http2(pinged.ping_timeout(extreme)),
                _ => set(layer, extreme),
            };
            let pool = layer.protocol(Protocol::Http2).layer(upstream.connector());
            for _ in 0..3 {
                let answered = within(LONG, fetch(&pool, &"http://a.test/".parse().unwrap())).await;
                let in_time =
                    !matches!(name, "connect_timeout" | "acquire_timeout" | "ping_timeout");
                assert!(
                    answered.is_ok() || (!in_time && extreme < Duration::MAX),
                    "{name} {extreme:?}: {answered:?}"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if extreme == Duration::MAX {
                assert_eq!(upstream.accepted(), 1, "{name}");
            }
        }
    }
}
