//! A peer that comes to speak another protocol.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Response, Uri};
use http_body_util::Full;
use tollgate_keep_alive::KeepAlive;
use tollgate_testing::{Gate, InMemory};
use tower::{Layer, Service, service_fn};

use super::support::{cap, fetch};

/// The cap once was that of HTTP/2 from the first such connection on, and seventeen warm ones closed.
#[tokio::test(start_paused = true)]
async fn changing_to_http2_costs_no_warm_connection() {
    const WARM: usize = 20;
    let gate = Gate::new();
    let held = gate.clone();
    let before = InMemory::new(service_fn(move |_| {
        let held = held.clone();
        async move {
            held.wait().await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("ok"))))
        }
    }));
    let after = InMemory::new(service_fn(|_| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("ok"))))
    }));
    let after = after.http2();
    let changed = Arc::new(AtomicBool::new(false));
    let is_changed = changed.clone();
    let pool: KeepAlive = cap(64).layer(service_fn(move |uri: Uri| {
        let is_changed = is_changed.load(Ordering::Relaxed);
        let now = if is_changed { &after } else { &before };
        now.clone().call(uri)
    }));
    let uri = Uri::from_static("http://peer.test/");
    let origin = uri.to_string().parse().unwrap();
    for calls in [WARM, WARM + 1] {
        gate.close();
        let (answers, ()) = tokio::join!(join_all((0..calls).map(|_| fetch(&pool, &uri))), async {
            gate.reached(WARM).await;
            gate.open();
        });
        assert!(answers.iter().all(Result::is_ok));
        changed.store(true, Ordering::Relaxed);
    }
    let stats = pool.stats(&origin).unwrap();
    assert_eq!((stats.open, stats.closed), (WARM + 1, 0), "{stats:?}");
    assert_eq!(stats.limit, Some(64));
}
