//! Outbound HTTP for Rust services: bounded, kept alive, DNS-cached, timed out and visible.
//!
//! # Why, and when not
//!
//! A service under load fails with connect timeouts and resets while its processor, memory and
//! database are idle: it opens a connection for every request until local ports run out, or queues
//! unseen behind a pool that is too small, or asks for the same name ten thousand times. The
//! [`Client`] caps connections per origin, keeps them alive, queues what is above the cap in the
//! open, caches DNS, and gives connecting a deadline. [`guide::incident`] has the whole story.
//!
//! It sends requests and nothing else: no cookies, forms or redirects, and JSON only as a
//! convenience. tower-http has layers for most
//! of that, to be put above it. It speaks HTTP/1.1 and HTTP/2, with TLS.
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = tollgate::Client::builder()
//!     .max_connections_per_origin(128)
//!     .idle_timeout(Duration::from_secs(30))
//!     .connect_timeout(Duration::from_secs(5))
//!     .timeout(Duration::from_secs(10)) // all of a call, to the end of its body
//!     .dns_max_ttl(Duration::from_secs(60))
//!     .origin("https://billing.internal", |o| o.max_connections_per_origin(256))
//!     .build()?;
//!
//! let response = client.get("https://billing.internal/v1/invoices").await?;
//! println!("{:?}", response.body().timings()); // queued, dns, connect, tls, first byte …
//! let invoices = response.into_body().collect_within(1 << 20).await?; // 1 MiB at most
//!
//! if let Some(stats) = client.stats("https://billing.internal") {
//!     println!("{} open, {} idle, {} queued", stats.open, stats.idle, stats.queued);
//! }
//! # drop(invoices);
//! # Ok(()) }
//! ```
//!
//! # Where it goes in the stack
//!
//! At the bottom: it is a [`Service`](tower_service::Service) of requests, and every layer of tower
//! and tower-http goes above it. A timeout above covers the wait for a connection, the connect, and
//! the exchange up to the response head; [`guide::timeouts`] lists what each clock covers. Inside, a
//! request passes
//!
//! ```text
//! Client ─ keep-alive (pool, cap, queue) ─ connect-timeout ─ TLS ─ dial ─ cached-dns ─ resolver
//! ```
//!
//! With tower-http's layers above it, the outermost first:
//!
//! ```
//! use std::time::Duration;
//! use http::{HeaderValue, StatusCode, header::USER_AGENT};
//! use tower::ServiceBuilder;
//! use tower_http::{
//!     decompression::DecompressionLayer, follow_redirect::FollowRedirectLayer,
//!     set_header::SetRequestHeaderLayer, timeout::TimeoutLayer, trace::TraceLayer,
//! };
//!
//! let service = ServiceBuilder::new()
//!     .layer(TraceLayer::new_for_http())
//!     .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(10)))
//!     .layer(FollowRedirectLayer::new()) // each hop in the same timeout
//!     .layer(SetRequestHeaderLayer::if_not_present(USER_AGENT, HeaderValue::from_static("billing/1")))
//!     .layer(DecompressionLayer::new())
//!     .service(tollgate::Client::new());
//! # drop(service);
//! ```
//!
//! Each of these parts is a layer in a crate of its own, re-exported here, and works alone under other
//! clients: [`keep_alive`], [`connect_timeout`], [`tls`], [`dial`], [`cached_dns`], and besides
//! [`pool_limit`] and [`queue_metrics`].
//!
//! # Differences from other clients
//!
//! * reqwest and hyper-util's legacy client: a cap, a queue, statistics, cached names, and defaults with
//!   limits. They know proxies, and reqwest cookies and forms; a `Client` does not.
//! * tonic's `Channel`: several connections where one has too few streams, and a bounded queue.
//! * Go, .NET, undici: [`guide::comparison`], knob by knob. [`guide::migration`] goes line by line.
//!
//! # Choosing the values
//!
//! Every default is meant for production, and [`guide::numbers`] derives them. The one to think about
//! is [`max_connections_per_origin`](ClientBuilder::max_connections_per_origin): requests per second
//! times seconds per request, and room above that mean: for 5 take 12, for 20 take 32, for 100 take 125. [`ClientBuilder::build`] refuses what makes no
//! sense; zero is never "unlimited".
//!
//! # One origin, one request
//!
//! [`ClientBuilder::origin`] gives one origin limits of its own. One request is configured by its
//! extensions: [`Limits`] is the time that it has, [`Deadline`] bounds its wait, [`NoRetry`] hands it to one connection and no other,
//! [`OriginOverride`] sends it elsewhere than to its URI.
//!
//! # Backpressure and clones
//!
//! Clones share everything. A client is always ready, since its queues, one for each origin, are
//! inside the call; [`Client::origin`] makes a service for one origin that is ready only when a
//! connection is reserved for it.
//!
//! # Cancel safety
//!
//! A call can be dropped at any time. Waiting, its ticket is cancelled; granted, it gives the connection
//! back; with a request on its way it closes that one connection. A dial belongs to the pool: the
//! request that caused it can leave, and the connection serves the next. A response body that is
//! dropped early costs its connection unless the rest is at hand.
//!
//! # Errors
//!
//! One type, [`Error`], with a [`kind`](Error::kind), with
//! [`is_retryable`](Error::is_retryable), which is true only if nothing was sent, and with where the
//! time went. [`guide::errors`] is the table. What a builder refuses is a [`BuildError`].
//!
//! # Metrics
//!
//! [`Client::stats`] and [`Client::snapshot`] read counters that are always kept.
//! [`ClientBuilder::observer`] takes an [`Observer`], such as
//! [`PoolMetrics`](queue_metrics::PoolMetrics), which carries them to the `metrics` facade. It also
//! sees the end of each call, which is OpenTelemetry's `http.client.request.duration`, and where it asks
//! for that ([`with_body_sizes`](queue_metrics::PoolMetrics::with_body_sizes)) the sizes of both bodies.
//! Names and labels are in [`queue_metrics::names`].
//!
//! # Tracing
//!
//! Events go to [`tracing`](https://docs.rs/tracing) as well, under targets that begin
//! with `tollgate::`: refusals, failed dials and failed lookups at `warn`, once a second at most for
//! each origin and kind, and
//! connections that open and close, waits and retries at `debug`
//! ([`TraceEvents`](queue_metrics::TraceEvents) has the table). With `tollgate::request` at `debug`,
//! each attempt of a request is a span with the times of its phases. Origins, names and addresses
//! are recorded, never a path, a query, a header or user information.
//!
//! # Leaks and deadlocks
//!
//! A cap makes both possible. [`leak_after`](ClientBuilder::leak_after) names each response body that is
//! held and not read; [`detect_deadlocks`](ClientBuilder::detect_deadlocks) makes an error of a call that
//! waits for a connection which its own [`scope`] holds.
//!
//! # Long-lived exchanges
//!
//! Upgraded connections and streams of events are held for as long as they live. With
//! [`max_long_lived_per_origin`](ClientBuilder::max_long_lived_per_origin) they have some of their own, so
//! that calls do not queue behind them.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `hickory` | yes | names by hickory-resolver, with their TTLs; without it by getaddrinfo |
//! | `tls` | yes | `https` by rustls with ring; without it `https` is an error |
//! | `webpki-roots` | yes | Mozilla's roots, compiled in; without them `https` is an error until [`TlsOptions`](tls::TlsOptions) names roots |
//! | `platform-verifier` | no | [`TlsOptions::platform_verifier`](tls::TlsOptions): what the operating system trusts |
//! | `tonic` | no | for clients generated by tonic 0.14: a `Status` in the chain of each [`Error`], and calls that end at their `grpc-timeout`: [`guide::grpc`] |
//! | `sockets` | no | what the kernel knows of each origin's addresses in [`Snapshot`], and the crate `tollgate-sockets` as `sockets` (Linux) |
//! | `debug` | no | [`debug`]: a page of the pools' state, as text, JSON and HTML |
//! | `json` | no | [`Body::json`] and [`Body::from_json`] |
//! | `reqwest` | no | the layers under reqwest 0.13: `CachedDns` as its resolver, `PoolLimitLayer` over its client |
//! | `serde` | no | `Serialize` for [`Snapshot`], [`OriginStats`], what [`PoolMetrics`](queue_metrics::PoolMetrics) reports, and kinds of failure |

mod assemble;
mod body;
mod budgets;
mod build_error;
mod builder;
mod builder_parts;
mod call_end;
mod call_phase;
mod client;
#[cfg(feature = "debug")]
pub mod debug;
mod dns_changes;
mod error;
mod error_kind;
mod exchanges;
mod future;
mod global;
#[cfg(feature = "tonic")]
mod grpc;
mod grpc_timeout;
pub mod guide;
mod inherited;
#[cfg(feature = "sockets")]
mod kernel;
mod limits;
mod long_lived;
mod message;
mod no_tls;
mod origin_client;
mod origin_override;
mod proxies;
mod sends;
mod settings;
mod snapshot;
mod task_flag;
#[cfg(feature = "tls")]
pub mod tls;
mod transfer;
mod unused;

pub use body::Body;
pub use build_error::{BuildError, BuildErrorKind};
pub use builder::ClientBuilder;
pub use call_phase::CallPhase;
pub use client::Client;
pub use error::Error;
pub use error_kind::ErrorKind;
pub use exchanges::scope;
pub use future::ResponseFuture;
pub use global::{AlreadyInstalled, client, install};
pub use inherited::{InheritDeadline, InheritDeadlineLayer, PassDeadline, PassDeadlineLayer};
#[cfg(feature = "sockets")]
pub use kernel::OriginSockets;
pub use long_lived::LongLived;
pub use origin_client::OriginClient;
pub use origin_override::OriginOverride;
pub use snapshot::Snapshot;

pub use tollgate_cached_dns as cached_dns;
pub use tollgate_connect_timeout as connect_timeout;
pub use tollgate_dial as dial;
pub use tollgate_keep_alive as keep_alive;
pub use tollgate_pool_limit as pool_limit;
pub use tollgate_queue_metrics as queue_metrics;
#[cfg(feature = "sockets")]
pub use tollgate_sockets as sockets;

pub use tollgate_core::{
    BoxError, Classified, CloseReason, ConnectErrorKind, Encrypted, Event, ExchangeEnd,
    NotEncrypted, Observer, Origin, Phase, QueueOrder, RefuseReason, Timings, error::find,
};
pub use tollgate_keep_alive::{ConnectionState, ConnectionStats, OriginDetail};
pub use tollgate_keep_alive::{
    Deadline, Discipline, Http1Options, Http2Options, Limits, NoRetry, OriginOptions, OriginStats,
    Protocol, RetryPolicy,
};

pub use bytes::Bytes;
pub use http::{Request, Response, Uri};
pub use http_body_util::BodyExt;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
