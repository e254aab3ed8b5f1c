//! A cache for DNS answers as a [Tower](tower_layer) layer: it wraps any resolver that hyper-util's
//! `HttpConnector` takes and is one itself.
//!
//! # Why, and when not
//!
//! A lookup happens once per new connection, and most cost little. The others are the tail that
//! users feel: an answer that has just expired under load, a server that drops AAAA queries, one of
//! two servers that fails, a server that is down. This crate keeps those out of the way of
//! connections:
//!
//! * one query per name, however many ask, and it goes on when they give up ([cancel
//!   safety](#cancel-safety));
//! * answers are refreshed before they expire, given for a short time after it while a new one is
//!   fetched, and for up to an hour when none can be had;
//! * "not found" is cached, failures are, with a back-off, and neither for long;
//! * addresses rotate within their family, and those that a dialer reports as dead come last;
//! * a [handle](DnsHandle) tells which addresses came and went, so that a pool can follow.
//!
//! A program that opens its connections once and keeps them has no need of it. Where every process
//! of a machine should share one cache, a local resolver daemon does that; the cache here still keeps
//! its faults away from callers.
//!
//! # Example
//!
//! ```
//! use tollgate_cached_dns::{CachedDns, CachedDnsLayer, Gai, StaticHosts};
//! use std::{net::Ipv4Addr, time::Duration};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut dns: CachedDns<Gai> = ServiceBuilder::new()
//!     .layer(
//!         CachedDnsLayer::new()
//!             .max_ttl(Duration::from_secs(60))
//!             .overrides(StaticHosts::new().host("*.test", [Ipv4Addr::LOCALHOST.into()])),
//!     )
//!     .service(Gai::new());
//!
//! let mut addrs = dns.ready().await?.call("billing.test".parse()?).await?;
//! assert_eq!(addrs.next(), Some("127.0.0.1:0".parse()?));
//! # Ok(())
//! # }
//! ```
//!
//! # Where it goes in the stack
//!
//! Between a connector and a resolver. Layers between the cache and the backend see queries, not
//! lookups: a concurrency limit or a timeout there is a limit of the network's part. Layers above
//! the cache are paid for on every hit.
//!
//! Any `Service<Name>` whose response is an iterator of addresses is a backend (hyper-util's
//! `GaiResolver`, a `service_fn`), and so is one that returns an [`Answer`], which has a TTL. Here
//! are [`Gai`], the system's resolver with a cap on its threads; [`StaticHosts`], a table; and, with
//! the feature `hickory`, `Hickory`, which asks nameservers itself and knows TTLs.
//! With the feature `reqwest`, [`CachedDns`] goes into `reqwest::ClientBuilder::dns_resolver`.
//!
//! Clients do not ask a resolver about IP addresses in URIs, so a filter of addresses belongs into
//! the dialer and not here.
//!
//! # Life of an entry
//!
//! With `T` the TTL between 1 s and 5 min, less up to 10 % at random; an answer without a TTL
//! counts as one of 30 s.
//!
//! | age | a caller gets | besides |
//! |---|---|---|
//! | below 0.8 `T` | the answer | |
//! | up to `T` | the answer | the first caller starts a refresh in the background |
//! | up to `T` + 10 s | the answer, marked [stale](Freshness) | a refresh in the background |
//! | up to `T` + 1 h | a new answer if it comes within 500 ms; else the old one | a refresh, not more often than the back-off |
//! | above | waits up to 5 s | |
//!
//! "Not found" is an answer and replaces an older one at once; it holds for 1 to 10 s, as its SOA
//! record allows, or for 5 s. After a failure a name is asked for again after 1 s, doubling to 30 s.
//! An answer with one family missing holds for 10 s at most, and the late family joins it when it
//! comes. A dial that was given it and asks for more ([`tollgate_core::late`]) gets them then. A name that is not asked for is not refreshed and costs no timer.
//!
//! # Differences from hickory's own cache
//!
//! Its cache has no stale answers, refreshes or failures, and its lookups die with their callers.
//! `Hickory` here turns it off. `examples/dns_faults` prints what each fault costs with this crate,
//! with `hickory-resolver` as it comes, and with getaddrinfo.
//!
//! # Choosing the values
//!
//! [`max_ttl`](CachedDnsLayer::max_ttl) bounds how long a wrong or poisoned answer lives, and
//! background refreshes make a low one cheap: it is the one to lower where names move without their
//! TTLs saying so. [`max_stale`](CachedDnsLayer::max_stale) trades wrong addresses during an outage
//! of DNS against none. [`max_names`](CachedDnsLayer::max_names) should exceed the names in use;
//! each costs some hundred bytes.
//!
//! # Backpressure and clones
//!
//! Always ready: hyper-util polls one clone for readiness and calls another, so a place taken in
//! `poll_ready` would be lost. The limits are in `call`: 64 queries at a time, 1,024 names waiting
//! for a place, and refusal ([`LookupErrorKind::Overloaded`]) beyond that. Clones share the cache; two
//! services made by one layer do not.
//!
//! # Cancel safety
//!
//! After a lookup is dropped its query goes on in a task of its own; the answer goes into the cache
//! for the next caller. The task ends 10 s after it began at the latest. If its runtime goes away, a
//! caller that waits on another runtime starts the query again there, once.
//!
//! # Errors
//!
//! [`LookupError`], cloned to everyone who waited for the same query, with its
//! [kind](LookupErrorKind), host and duration. The backend's own error is its source; that of a
//! time-out ends in an `io::Error` of kind `TimedOut`.
//!
//! # Metrics
//!
//! [`DnsHandle::stats`] counts lookups by how they were answered, queries by how they ended,
//! evictions, changes and demotions, and gives the number of names and queries now.
//! [`DnsHandle::snapshot`] lists each name. An [observer](CachedDnsLayer::observer) sees each lookup
//! and each query as it happens. Names are not fit for labels.
//!
//! # Locks
//!
//! A hit takes a shared lock on a part of the map, allocates nothing and awaits nothing. (With an
//! address demoted it takes one more shared lock, and one allocation if that address is in the
//! answer.) Everything else is under one lock over the table of queries, held for a few field
//! updates: no backend, no observer, no wake and no drop of foreign values under it.

mod addresses;
mod cache;
mod entries;
mod outside;
mod values;

pub use addresses::addrs::{Addrs, Freshness};
pub use addresses::answer::{Answer, IntoAnswer};
pub use addresses::changes::{DnsChange, DnsChanges};
pub use addresses::hosts::StaticHosts;
pub use cache::config::Rotation;
pub use cache::snapshot::{AddrSnapshot, NameSnapshot, NameState};
pub use cache::stats::DnsStats;
pub use outside::backend::{Gai, GaiFuture};
#[cfg(feature = "hickory")]
pub use outside::backend::{Hickory, HickoryBuilder, HickoryError, HickoryFuture};
pub use outside::future::CachedDnsFuture;
pub use outside::handle::DnsHandle;
pub use outside::layer::CachedDnsLayer;
pub use outside::service::CachedDns;
pub use values::bounds::InvalidBounds;
pub use values::error::{LookupError, LookupErrorKind};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
