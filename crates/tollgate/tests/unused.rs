//! Options of single origins that do not apply are reported.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use support::client_with;
use support::log::Log;
use tollgate::{Body, LongLived};
use tollgate_testing::{Connector, Recorder, Reply, Upstream};

#[tokio::test(start_paused = true)]
async fn options_of_another_port_warn_at_dial() {
    let log = Log::default();
    let _default = tracing::subscriber::set_default(log.clone());
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| {
        b.connector(connector)
            .origin("http://used.internal", |o| o.max_connections_per_origin(1))
            .origin("http://billing.internal", |o| {
                o.max_connections_per_origin(2)
            })
    });
    for uri in [
        "http://used.internal/",
        "http://billing.internal:8080/",
        "http://billing.internal:8080/",
    ] {
        let body = client.get(uri).await.unwrap().into_body();
        body.collect_within(9).await.unwrap();
    }
    let seen = log.with("WARN");
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert!(
        seen[0].contains("options=http://billing.internal "),
        "{seen:#?}"
    );
    assert!(
        seen[0].contains("origin=http://billing.internal:8080 "),
        "{seen:#?}"
    );
}

#[test]
fn unused_origin_options_warn_when_client_drops() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        drop(client_with(|b| {
            b.origin("http://never.internal", |o| o.max_connections_per_origin(1))
        }));
    });
    assert_eq!(log.with("never.internal").len(), 1, "{:#?}", log.lines());
}

#[tokio::test(start_paused = true)]
async fn long_lived_exchanges_count_as_using_options() {
    let log = Log::default();
    let _default = tracing::subscriber::set_default(log.clone());
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| {
        b.connector(connector)
            .origin("http://billing.internal", |o| o.max_idle_per_origin(1))
            .max_long_lived_per_origin(1)
            .long_lived_observer(Recorder::new(|_| None::<()>))
    });
    let watch = http::Request::get("http://billing.internal/").extension(LongLived);
    let response = client.request(watch.body(Body::default()).unwrap()).await;
    drop(response.unwrap());
    drop(client);
    assert_eq!(log.with("WARN").len(), 0, "{:#?}", log.lines());
}
