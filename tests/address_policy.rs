//! The address policy stands between the DNS cache and the socket.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tollgate::cached_dns::{Answer, CachedDnsLayer, LookupError, LookupErrorKind};
use tollgate_core::ConnectErrorKind;
use tollgate_dial::{AddrPolicy, DialFailure, DialLayer};
use tower::{Layer, ServiceExt, service_fn};

#[tokio::test(start_paused = true)]
async fn stale_dns_answer_obeys_the_address_policy() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let backend = service_fn(move |_| {
        let nth = count.fetch_add(1, SeqCst);
        async move {
            if nth > 0 {
                return Err(LookupError::new(LookupErrorKind::Transient));
            }
            let inside = SocketAddr::from(([10, 0, 0, 1], 0));
            Ok(Answer::new([inside]).ttl(Duration::from_secs(10)))
        }
    });
    let names = CachedDnsLayer::new().cached(backend);
    let handle = names.handle();
    let dial = DialLayer::new()
        .policy(AddrPolicy::public_only())
        .layer(names);
    for stale in [0, 1] {
        let uri = http::Uri::from_static("http://rebound.test");
        let error = dial.clone().oneshot(uri).await.unwrap_err();
        assert_eq!(error.failure(), DialFailure::Blocked);
        assert_eq!(error.kind(), ConnectErrorKind::Blocked);
        assert!(error.attempts().is_empty(), "nothing was connected to");
        assert_eq!(handle.stats().stale, stale);
        tokio::time::advance(Duration::from_secs(100)).await;
    }
}
