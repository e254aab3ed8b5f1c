//! What every layer owes its callers, with a probe in the place of the backend.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper_util::client::legacy::connect::dns::Name;
use tollgate_cached_dns::{CachedDns, CachedDnsLayer};
use tollgate_testing::contract::{Contract, Probe};
use tower::Layer;

type Addresses = std::vec::IntoIter<SocketAddr>;

/// A lookup belongs to the cache, not to the caller that caused it, hence detached; and each of its
/// calls is for a name of its own, so that none is answered from the cache.
fn contract() -> Contract<Name, Name, Addresses, CachedDns<Probe<Name, Addresses>>> {
    let names = AtomicUsize::new(0);
    Contract::between(
        |probe| CachedDnsLayer::new().layer(probe),
        move || {
            let n = names.fetch_add(1, Ordering::Relaxed);
            format!("name-{n}.test").parse().unwrap()
        },
        |_| vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))].into_iter(),
    )
    .detached()
    .errors_in_chain()
}

mod keeps_the_contract {
    tollgate_testing::contract_tests!(super::contract());
}
