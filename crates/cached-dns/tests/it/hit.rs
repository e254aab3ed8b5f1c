//! What a hit costs.

use hyper_util::client::legacy::connect::dns::Name;
use tollgate_cached_dns::StaticHosts;
use tower_service::Service;

use crate::common::*;

// Fault 23.
#[test]
fn a_cache_hit_allocates_nothing_and_never_waits() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let backend = Backend::steady(millis(0), 60, &["::1", "::2", "10.0.0.1", "10.0.0.2"]);
    let hosts = StaticHosts::new().host("*.pinned.test", [std::net::Ipv4Addr::LOCALHOST.into()]);
    let mut dns = backend.cached_with(|layer| layer.overrides(hosts));
    runtime.block_on(lookup(&dns, "a.example.test")).unwrap();
    // Outside of the runtime: nothing is awaited, spawned or timed.
    drop(runtime);
    for name in [
        "a.example.test",
        "A.Example.TEST",
        "127.0.0.1",
        "localhost",
        "x.pinned.test",
    ] {
        let mut found = 0;
        let names: Vec<Name> = (0..100).map(|_| name.parse().unwrap()).collect();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // The names were allocated by the caller, so they are given back outside.
        let info = allocation_counter::measure(|| {
            for name in names {
                let mut lookup = std::pin::pin!(dns.call(name));
                match lookup.as_mut().poll(&mut context) {
                    std::task::Poll::Ready(Ok(addrs)) => found += addrs.count(),
                    other => panic!("not a hit: {other:?}"),
                }
            }
        });
        assert_eq!(info.count_total, 0, "{name}");
        assert!(found >= 100);
    }
    assert_eq!(backend.calls(), 1);
}
