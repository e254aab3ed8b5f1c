//! A Tower layer and an observer that make hidden queues visible through the metrics facade.
//!
//! # Why, and when not
//!
//! A service whose upstream slows down is green on CPU and memory while its requests queue behind
//! the connection pool. The number that shows it, how many requests wait and for how long, is one
//! that HTTP clients do not expose. This crate counts it in two places:
//!
//! * [`QueueMetricsLayer`], around any Tower service: who waits in `poll_ready`, what is in flight
//!   until the response body has ended, and how it ended;
//! * [`PoolMetrics`], an [`Observer`](tollgate_core::Observer) of a pool, a resolver or a limit:
//!   queue, connections, dials and DNS, per origin. A pool and a request limit above it count each
//!   request, so each wants a `PoolMetrics` of its own, under a [name](PoolMetrics::pool).
//!
//! Both count in atomics of their own, which a snapshot reads without any recorder, and
//! [`spawn_report`] carries the numbers to the recorder of the `metrics` facade that is installed
//! at that time. If all you want is a request's duration by status, a layer above, such as
//! `tower-http`'s, has more.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use tollgate_queue_metrics::{PoolMetrics, QueueMetricsLayer, REPORT_EVERY, spawn_report};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let pool = Arc::new(PoolMetrics::new()); // Give a clone to a pool, as its observer.
//! let layer = QueueMetricsLayer::new("billing");
//! let reporter = spawn_report((pool, layer.clone()), REPORT_EVERY);
//!
//! let mut billing = ServiceBuilder::new()
//!     .layer(layer.clone())
//!     .concurrency_limit(64)
//!     .service(service_fn(|_: http::Request<()>| async {
//!         Ok::<_, tower::BoxError>(http::Response::new(String::from("paid")))
//!     }));
//! let response = billing.ready().await?.call(http::Request::default()).await?;
//!
//! assert_eq!(layer.snapshot().in_flight, 1); // The body has not been read.
//! drop(response);
//! assert_eq!(layer.snapshot().in_flight, 0);
//! reporter.stop();
//! # Ok(())
//! # }
//! ```
//!
//! # Where it goes in the stack
//!
//! The layer measures what is *below* it. Outermost, its wait covers every layer that reports it in
//! `poll_ready` that it is not ready, such as tower's `ConcurrencyLimit` or `Buffer`, and every
//! layer that queues inside its call and reports it through [`wait`](tollgate_core::wait), as
//! Tollgate's do, however the call ends. Any other wait is in the request's duration alone.
//!
//! # Differences from tower-http's `InFlightRequestsLayer`
//!
//! That one counts what is in flight. This one also counts waiting callers, keeps distributions, tells
//! outcomes apart, and reports by itself to whichever recorder is installed.
//!
//! # Choosing the values
//!
//! Report about twice as often as you are scraped: [`REPORT_EVERY`] is 10 s. Configure your
//! exporter with [`names::buckets`], or it makes summaries of the histograms, which cannot be added
//! up. [`MAX_ORIGINS`] bounds the series; group origins that come and go with
//! [`PoolMetrics::group_by`]. How many connections an origin wants, [`PoolMetrics::advise`] computes
//! from the load that it had: it advises, and nothing follows by itself. A Grafana dashboard and
//! Prometheus alert rules are in the crate's `dashboards` folder.
//!
//! # Backpressure and clones
//!
//! The layer adds none and hides none. A clone starts without a wait of its own: the wait is of
//! the clone that was polled. One that was ready and is dropped without a call is not counted.
//!
//! # Cancel safety
//!
//! Every gauge is held by a guard. A caller that goes away while it waits, before the answer or in
//! the middle of the body lets the gauge fall and counts as `cancelled`, after what was below is
//! gone.
//!
//! # Errors
//!
//! None of its own: the service's pass through as they are.
//!
//! # Metrics
//!
//! Series of an origin have the labels `server_address` and `server_port`, those of a name
//! `dns_question_name`, those of a layer `service`; [`PoolMetrics::pool`] adds `pool` to the first
//! two. [`names`] has the same table as constants.
//!
//! | name | kind | unit | labels | moves when |
//! |---|---|---|---|---|
//! | `http_client_open_connections` | gauge | 1 | `http_connection_state` | a connection is opened, closed, taken, given back |
//! | `http_client_connections_opening` | gauge | 1 |  | a dial starts, ends |
//! | `http_client_connections_draining` | gauge | 1 |  | a connection begins to drain, is closed |
//! | `http_client_connections_limit` | gauge | 1 |  | the pool meets an origin, forgets it, gets another limit |
//! | `http_client_requests_limit` | gauge | 1 |  | the limit of connections does, or what one carries |
//! | `http_client_connections_recommended` | gauge | 1 |  | a report, [if opted in](PoolMetrics::with_recommendation) |
//! | `http_client_active_requests` | gauge | 1 |  | a lease is granted, released |
//! | `http_client_queued_requests` | gauge | 1 |  | a request begins to wait, stops waiting |
//! | `http_client_queued_requests_peak` | gauge | 1 |  | more wait than since three reports ago |
//! | `http_client_queued_requests_for_dial` | gauge | 1 |  | a dial starts for a request that waits, ends |
//! | `http_client_request_time_in_queue_seconds` | histogram | s |  | a lease is granted, or refused after a wait |
//! | `http_client_request_time_for_dial_seconds` | histogram | s |  | the same, where a dial of its own was part of the wait |
//! | `http_client_queue_rejections_total` | counter | 1 | `reason` | a lease is refused |
//! | `http_client_queue_order_turns_total` | counter | 1 |  | the queue turns to newest first |
//! | `http_client_exchanges_total` | counter | 1 | `end` | a lease is released: `whole`, `left`, `broken`, `unused` |
//! | `http_client_connection_use_seconds` | histogram | s |  | the lease of a whole exchange is released |
//! | `http_client_request_duration_seconds` | histogram | s | `http_request_method`, `http_response_status_code`, `error_type`, `network_protocol_version` | a call through a `tollgate::Client` gets its response head, or an error |
//! | `http_client_request_body_size_bytes` | histogram | By | `http_request_method`, `http_response_status_code`, `error_type`, `network_protocol_version` | both bodies of such a call have ended, [if opted in](PoolMetrics::with_body_sizes) |
//! | `http_client_response_body_size_bytes` | histogram | By | `http_request_method`, `http_response_status_code`, `error_type`, `network_protocol_version` | the same, if it had a response |
//! | `http_client_requests_retried_total` | counter | 1 |  | a request is sent again |
//! | `http_client_connections_opened_total` | counter | 1 |  | a dial succeeds |
//! | `http_client_connections_reused_total` | counter | 1 |  | a lease is granted on a used connection |
//! | `http_client_connections_closed_total` | counter | 1 | `reason` | a connection is closed |
//! | `http_client_connection_duration_seconds` | histogram | s |  | a connection is closed, [if opted in](PoolMetrics::with_connection_duration) |
//! | `http_client_connect_duration_seconds` | histogram | s | `phase` | a dial succeeds: `dns`, `tcp`, `tls`, `total` |
//! | `http_client_connect_errors_total` | counter | 1 | `error_type` | a dial fails |
//! | `dns_lookup_duration_seconds` | histogram | s | `error_type` | the resolver answers or fails |
//! | `dns_cache_requests_total` | counter | 1 | `result` | the DNS cache is asked |
//! | `http_client_origins_overflowed` | gauge | 1 |  | an origin beyond the maximum is met |
//! | `tower_service_queued_requests` | gauge | 1 |  | `poll_ready` is pending, is not any more |
//! | `tower_service_queued_requests_peak` | gauge | 1 |  | more wait than since three reports ago |
//! | `tower_service_active_requests` | gauge | 1 |  | a call starts, its body ends |
//! | `tower_service_time_in_queue_seconds` | histogram | s |  | the answer is there, or the wait ends without one |
//! | `tower_service_request_duration_seconds` | histogram | s |  | a request ends |
//! | `tower_service_requests_total` | counter | 1 | `outcome` | a request ends: `ok`, `error`, `cancelled` |
//!
//! With [`Naming::OpenTelemetry`], the names that OpenTelemetry's semantic conventions have are used as
//! they want, with every attribute that they require (version 1.44.0, held by a test).
//!
//! Counters and gauges of an origin are there from the first report after its first event on, so
//! that `rate` sees the first refusal of an origin that has been scraped before: what came before
//! its first scrape no rate can show. Histograms are there from their first sample on. Counters,
//! gauges and histograms are as old as the last report: see ADR 0001 in the repository for why. A
//! peak is in three reports, so that no burst falls between two scrapes.

mod advice;
mod body;
mod bounds;
mod calls;
mod counters;
mod dns_series;
mod erlang;
mod future;
mod guard;
mod histogram;
mod layer;
mod limit;
mod load;
mod measure;
pub mod names;
mod pool_metrics;
mod pool_options;
mod pool_report;
mod pool_snapshot;
mod report;
mod resolved;
mod series;
mod service;
mod service_series;
mod sketch;
mod snapshot;
mod spelling;
mod trace_events;
mod warn_limit;

pub use advice::{Advice, Verdict};
pub use body::QueueMetricsBody;
pub use future::QueueMetricsFuture;
pub use layer::QueueMetricsLayer;
pub use measure::{BodyEnd, Head, MeasureUntil};
pub use pool_metrics::{MAX_ORIGINS, PoolMetrics};
pub use report::{REPORT_EVERY, Report, Reporter, spawn_report};
pub use service::QueueMetrics;
pub use service_series::{InFlight, Outcome};
pub use snapshot::{Distribution, NameStats, OriginStats, PoolSnapshot, ServiceStats};
pub use spelling::Naming;
pub use trace_events::TraceEvents;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
