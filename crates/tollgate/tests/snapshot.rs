//! What a client tells of itself.
#![cfg(feature = "hickory")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use support::{cached, text};
use tollgate::{Client, ConnectionState};
use tollgate_testing::dns::{Answer, DnsServer};
use tollgate_testing::{Reply, Upstream};

/// A client that has asked one upstream by its name, and the origin of that.
async fn used(upstream: &Upstream, dns: &DnsServer) -> (Client, String) {
    let address = Answer::addrs([upstream.addr().ip()]).ttl(30);
    dns.set("billing.internal", address);
    let client = Client::builder()
        .resolver(cached::hickory(dns))
        .max_connections_per_origin(4)
        .build()
        .unwrap();
    let origin = format!("http://billing.internal:{}", upstream.addr().port());
    text(client.get(origin.clone()).await.unwrap()).await;
    (client, origin)
}

#[tokio::test]
async fn snapshot_prints_tables_of_origins_and_names() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let dns = DnsServer::start().await;
    let (client, origin) = used(&upstream, &dns).await;
    let tables = client.snapshot().to_string();
    let mut parts = tables.split("\n\n");
    let [origins, names] = [(); 2].map(|()| parts.next().unwrap());
    for (table, first) in [(origins, &*origin), (names, "billing.internal")] {
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2, "{tables}");
        let width = |line: &str| line.chars().count();
        assert_eq!(width(lines[0]), width(lines[1]), "{tables}");
        assert!(lines[1].starts_with(first), "{tables}");
    }
    assert!(names.contains("fresh"), "{tables}");
    for column in ["peak", "mean wait", "refused", "timed out", "failed"] {
        assert!(origins.contains(column), "{tables}");
    }
}

#[tokio::test]
async fn origin_detail_has_the_dialled_remote_address() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let dns = DnsServer::start().await;
    let (client, origin) = used(&upstream, &dns).await;
    let detail = client.detail(&origin).unwrap();
    let [connection] = &detail.connections[..] else {
        panic!("{detail:?}");
    };
    assert_eq!(connection.remote, Some(upstream.addr()));
    assert_eq!(
        (connection.number, connection.state, connection.served),
        (1, ConnectionState::Idle, 1)
    );
    assert_eq!(detail.stats.open, 1);
    assert!(client.detail("http://nobody.internal").is_none());
    assert!(client.detail("no origin").is_none());
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn detail_and_names_serialize_to_json() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let dns = DnsServer::start().await;
    let (client, origin) = used(&upstream, &dns).await;
    let detail = serde_json::to_value(client.detail(&origin)).unwrap();
    let connection = &detail["connections"][0];
    for (field, value) in [
        ("number", serde_json::json!(1)),
        ("state", "idle".into()),
        ("served", 1.into()),
        ("protocol", "http/1.1".into()),
        ("remote", upstream.addr().to_string().into()),
        ("streams", 0.into()),
    ] {
        assert_eq!(connection[field], value, "{detail}");
    }
    assert!(connection["age"].is_object() && connection["idle_for"].is_object());
    let snapshot = serde_json::to_value(client.snapshot()).unwrap();
    assert_eq!(snapshot["names"][0]["name"], "billing.internal");
    let addr = snapshot["names"][0]["addrs"][0]["addr"].as_str().unwrap();
    assert!(addr.starts_with("127.0.0.1"), "{addr}");
}

#[cfg(all(feature = "sockets", target_os = "linux"))]
#[tokio::test]
async fn snapshot_has_kernel_sockets_of_an_origin() {
    use tollgate::sockets::TcpState;

    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let dns = DnsServer::start().await;
    let (client, origin) = used(&upstream, &dns).await;
    let snapshot = client.snapshot();
    let [row] = &snapshot.sockets[..] else {
        panic!("{snapshot:?}");
    };
    assert_eq!(row.origin.to_string(), origin);
    assert_eq!(row.destination.remote, upstream.addr());
    assert_eq!(row.destination.sockets.of(TcpState::Established), 1);
    assert!(row.destination.ports_taken >= 1 && row.destination.headroom() > 0.5);
    let tables = snapshot.to_string();
    let line = tables.lines().last().unwrap();
    assert!(
        line.starts_with(&origin) && line.contains(&upstream.addr().to_string()),
        "{tables}"
    );
    #[cfg(feature = "serde")]
    {
        let json = serde_json::to_value(&snapshot).unwrap();
        let row = &json["sockets"][0];
        assert_eq!(row["remote"], upstream.addr().to_string(), "{json}");
        assert_eq!(row["sockets"]["established"], 1, "{json}");
    }
}

#[cfg(all(feature = "sockets", target_os = "linux"))]
#[tokio::test]
async fn sockets_of_exchanges_that_last_are_a_row() {
    use tollgate::{Body, LongLived};

    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let client = Client::builder().max_long_lived_per_origin(2);
    let client = client.build().unwrap();
    let origin = format!("http://{}", upstream.addr());
    let lasting = http::Request::get(&origin).extension(LongLived);
    let lasting = lasting.body(Body::default()).unwrap();
    let held = client.request(lasting).await.unwrap();
    let snapshot = client.snapshot();
    let [row] = &snapshot.sockets[..] else {
        panic!("{snapshot:?}");
    };
    assert_eq!(row.origin.to_string(), origin);
    // Once, though both pools have it.
    client.get(&origin).await.unwrap();
    assert_eq!(client.snapshot().sockets.len(), 1);
    drop(held);
}

#[cfg(feature = "serde")]
#[test]
fn serde_feature_covers_the_layers_below() {
    let metrics = tollgate::queue_metrics::PoolMetrics::new();
    assert!(
        serde_json::to_value(metrics.snapshot())
            .unwrap()
            .is_object()
    );
    let failure = serde_json::to_value(tollgate::dial::DialFailure::AllFailed).unwrap();
    assert_eq!(failure, "all_failed");
}
