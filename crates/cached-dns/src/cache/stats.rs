//! The counters of a cache.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counts of a cache since it was made, and its size now.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct DnsStats {
            $($(#[$doc])* pub $name: u64,)*
            /// Now: names in the cache.
            pub names: u64,
            /// Now: lookups under way or waiting for a place.
            pub in_flight: u64,
            /// Now: addresses remembered as failing.
            pub demoted: u64,
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64,)* }

        impl Counters {
            pub(crate) fn read(&self) -> DnsStats {
                DnsStats { $($name: self.$name.load(Relaxed),)* ..DnsStats::default() }
            }
        }
    };
}

counters! {
    /// Lookups served from a fresh entry.
    fresh,
    /// Lookups served from an entry past its TTL by no more than the stale-while-revalidate time.
    revalidated,
    /// Lookups served from an older entry because a new answer could not be had (in time).
    stale,
    /// Lookups that started a query.
    misses,
    /// Lookups that joined a query under way.
    coalesced,
    /// Lookups answered "not found" from the cache.
    negative,
    /// Lookups answered with a failure from the cache, or refused while the name backs off.
    failure_cached,
    /// Lookups of IP addresses and of `localhost`.
    literals,
    /// Lookups answered by an override.
    overridden,
    /// Lookups refused because too many were under way.
    overloaded,
    /// Background refreshes started.
    refreshes,
    /// Queries to the backend.
    queries,
    /// Queries that the backend answered with addresses.
    answered,
    /// Queries that the backend answered with "not found".
    not_found,
    /// Queries that failed.
    failed,
    /// Names pushed out by others.
    evictions,
    /// Changes of a name's addresses.
    changes,
    /// Failures of addresses that were reported.
    demotions,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
