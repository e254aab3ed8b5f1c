//! The table of every metric: one constant each, for code, documentation, dashboards and tests.
//!
//! ```
//! use tollgate_queue_metrics::names;
//!
//! for metric in names::ALL {
//!     println!("{} ({:?}): {}", metric.name, metric.kind, metric.description);
//! }
//! assert_eq!(names::QUEUED_REQUESTS.otel, "http.client.queued_requests");
//! ```

use metrics::Unit;

/// The description of one metric.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name as Prometheus writes it.
    pub name: &'static str,
    /// Its name as OpenTelemetry writes it, which [`Naming::OpenTelemetry`](crate::Naming) uses.
    pub otel: &'static str,
    /// Gauge, counter or histogram.
    pub kind: Kind,
    /// The unit of its values.
    pub unit: Unit,
    /// One sentence for people.
    pub description: &'static str,
    /// The labels of its own, besides those that every series of its source has.
    pub labels: &'static [&'static str],
    /// The bounds of a histogram's buckets, in its unit; empty for the other kinds.
    pub buckets: &'static [f64],
}

/// The kinds of metric that the `metrics` facade knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A value that only grows.
    Counter,
    /// A distribution of values.
    Histogram,
}

/// Waits, DNS, connects and requests: the buckets that OpenTelemetry advises for HTTP and DNS
/// durations, with three below them, since a healthy queue is shorter than 5 ms.
pub const WAIT_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0,
];

/// The life of a connection: the buckets that .NET advises for it.
pub const LIFETIME_BUCKETS: &[f64] = &[
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// The sizes of bodies in bytes: powers of four from 64 B to 1 GiB. OpenTelemetry advises none.
pub const SIZE_BUCKETS: &[f64] = &[
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

macro_rules! table {
    ($(
        $id:ident = $kind:ident $unit:ident $name:literal $otel:literal
        [$($label:literal),*] $buckets:expr, $description:literal;
    )*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $description)]
            pub const $id: Metric = Metric {
                name: $name,
                otel: $otel,
                kind: Kind::$kind,
                unit: Unit::$unit,
                description: $description,
                labels: &[$($label),*],
                buckets: $buckets,
            };
        )*

        /// Every metric of this crate.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

table! {
    OPEN_CONNECTIONS = Gauge Count "http_client_open_connections" "http.client.open_connections"
        ["http_connection_state"] &[], "Established connections, active (serving) or idle.";
    CONNECTIONS_OPENING = Gauge Count "http_client_connections_opening" "http.client.connections_opening"
        [] &[], "Dials under way, from name resolution to the usable connection.";
    CONNECTIONS_DRAINING = Gauge Count "http_client_connections_draining" "http.client.connections_draining"
        [] &[], "Connections that take no more requests and live beside their replacement for those they have.";
    CONNECTIONS_LIMIT = Gauge Count "http_client_connections_limit" "http.client.connections_limit"
        [] &[], "The maximum of connections, of a group the sum of its origins'; absent until it is told, 0 once it is forgotten.";
    REQUESTS_LIMIT = Gauge Count "http_client_requests_limit" "http.client.requests_limit"
        [] &[], "The most requests in flight at once: the maximum of connections times what an open one carries, streams of HTTP/2.";
    CONNECTIONS_RECOMMENDED = Gauge Count "http_client_connections_recommended" "http.client.connections_recommended"
        [] &[], "Connections with which one request in a hundred would wait, from the load of five minutes; off by default.";
    ACTIVE_REQUESTS = Gauge Count "http_client_active_requests" "http.client.active_requests"
        [] &[], "Requests that hold a lease, to the end of the response body.";
    QUEUED_REQUESTS = Gauge Count "http_client_queued_requests" "http.client.queued_requests"
        [] &[], "Requests that wait for a connection: the one to look at first.";
    QUEUED_REQUESTS_PEAK = Gauge Count "http_client_queued_requests_peak" "http.client.queued_requests_peak"
        [] &[], "The most requests that waited at once since three reports ago.";
    QUEUED_REQUESTS_FOR_DIAL = Gauge Count "http_client_queued_requests_for_dial" "http.client.queued_requests_for_dial"
        [] &[], "Those of the queued requests that have a dial of their own: the others wait for capacity.";
    TIME_IN_QUEUE = Histogram Seconds "http_client_request_time_in_queue_seconds" "http.client.request.time_in_queue"
        [] WAIT_BUCKETS, "How long requests waited for capacity: zeros included, and refusals that waited; without dials of their own.";
    TIME_FOR_DIAL = Histogram Seconds "http_client_request_time_for_dial_seconds" "http.client.request.time_for_dial"
        [] WAIT_BUCKETS, "How long requests waited for a dial of their own: only those that did.";
    QUEUE_REJECTIONS = Counter Count "http_client_queue_rejections_total" "http.client.queue_rejections"
        ["reason"] &[], "Requests that got no connection; abandoned: the caller left after waiting for capacity.";
    QUEUE_ORDER_TURNS = Counter Count "http_client_queue_order_turns_total" "http.client.queue_order_turns"
        [] &[], "Times that the queue turned to newest first, since callers left it in numbers.";
    EXCHANGES = Counter Count "http_client_exchanges_total" "http.client.exchanges"
        ["end"] &[], "Exchanges that ended: whole, left by their caller, broken or unused; whole ones are the goodput.";
    CONNECTION_USE = Histogram Seconds "http_client_connection_use_seconds" "http.client.connection.use_time"
        [] WAIT_BUCKETS, "From lease to the end of the response body, of whole exchanges: the rate of its sum is the offered load.";
    REQUEST_DURATION = Histogram Seconds "http_client_request_duration_seconds" "http.client.request.duration"
        ["http_request_method", "http_response_status_code", "error_type", "network_protocol_version"] WAIT_BUCKETS,
        "From a client's call to its response head, or its error: waits, dials and retries included.";
    REQUEST_BODY_SIZE = Histogram Bytes "http_client_request_body_size_bytes" "http.client.request.body.size"
        ["http_request_method", "http_response_status_code", "error_type", "network_protocol_version"] SIZE_BUCKETS,
        "The size of request bodies as they were sent, encoded and without framing; off by default.";
    RESPONSE_BODY_SIZE = Histogram Bytes "http_client_response_body_size_bytes" "http.client.response.body.size"
        ["http_request_method", "http_response_status_code", "error_type", "network_protocol_version"] SIZE_BUCKETS,
        "The size of response bodies as far as they were read, encoded and without framing; off by default.";
    REQUESTS_RETRIED = Counter Count "http_client_requests_retried_total" "http.client.requests_retried"
        [] &[], "Requests started again on another connection.";
    CONNECTIONS_OPENED = Counter Count "http_client_connections_opened_total" "http.client.connections_opened"
        [] &[], "Connections established.";
    CONNECTIONS_REUSED = Counter Count "http_client_connections_reused_total" "http.client.connections_reused"
        [] &[], "Requests served on a connection that had served before.";
    CONNECTIONS_CLOSED = Counter Count "http_client_connections_closed_total" "http.client.connections_closed"
        ["reason"] &[], "Connections closed; peer_close is Connection: close or GOAWAY.";
    CONNECTION_DURATION = Histogram Seconds "http_client_connection_duration_seconds" "http.client.connection.duration"
        [] LIFETIME_BUCKETS, "How long connections lived, known only when they close; off by default.";
    CONNECT_DURATION = Histogram Seconds "http_client_connect_duration_seconds" "http.client.connect.duration"
        ["phase"] WAIT_BUCKETS, "What successful dials cost, by phase; total is the whole dial.";
    CONNECT_ERRORS = Counter Count "http_client_connect_errors_total" "http.client.connect_errors"
        ["error_type"] &[], "Dials that failed.";
    DNS_LOOKUP_DURATION = Histogram Seconds "dns_lookup_duration_seconds" "dns.lookup.duration"
        ["error_type"] WAIT_BUCKETS, "How long the resolver took when it was really asked; error_type only if it failed.";
    DNS_CACHE_REQUESTS = Counter Count "dns_cache_requests_total" "dns.cache.requests"
        ["result"] &[], "Questions to the DNS cache by how it answered.";
    ORIGINS_OVERFLOWED = Gauge Count "http_client_origins_overflowed" "http.client.origins_overflowed"
        [] &[], "Origins folded into the _other series, an estimate within a few per cent.";
    SERVICE_QUEUED_REQUESTS = Gauge Count "tower_service_queued_requests" "tower.service.queued_requests"
        [] &[], "Callers that wait in poll_ready.";
    SERVICE_QUEUED_REQUESTS_PEAK = Gauge Count "tower_service_queued_requests_peak" "tower.service.queued_requests_peak"
        [] &[], "The most callers that waited in poll_ready at once since three reports ago.";
    SERVICE_ACTIVE_REQUESTS = Gauge Count "tower_service_active_requests" "tower.service.active_requests"
        [] &[], "Requests in flight, to the end of the response body.";
    SERVICE_TIME_IN_QUEUE = Histogram Seconds "tower_service_time_in_queue_seconds" "tower.service.time_in_queue"
        [] WAIT_BUCKETS, "How long requests waited: in poll_ready, plus what the layers below report.";
    SERVICE_REQUEST_DURATION = Histogram Seconds "tower_service_request_duration_seconds" "tower.service.request.duration"
        [] WAIT_BUCKETS, "From the call to the end of the response body.";
    SERVICE_REQUESTS = Counter Count "tower_service_requests_total" "tower.service.requests"
        ["outcome"] &[], "Requests by how they ended: ok, error or cancelled.";
}

/// The label with a connection's state.
pub const STATE: &str = "http_connection_state";
/// The label with a request's method, `_OTHER` if it is not one of the usual.
pub const METHOD: &str = "http_request_method";
/// The label with the status of a response; a series of calls without one lacks it.
pub const STATUS: &str = "http_response_status_code";
/// The label with the word for an error; a series of what succeeded lacks it.
pub const ERROR: &str = "error_type";
/// The label with the version of HTTP that a response was in, such as `1.1`.
pub const VERSION: &str = "network_protocol_version";
/// The label with an origin's host, its group, or `_other`: on every series of an origin.
pub const SERVER_ADDRESS: &str = "server_address";
/// The label with an origin's port, also where it is the scheme's default; 0 for `_other`.
pub const SERVER_PORT: &str = "server_port";
/// The label of a series about a name in the DNS.
pub const DNS_LABEL: &str = "dns_question_name";
/// The label of a series of [`QueueMetricsLayer`](crate::QueueMetricsLayer).
pub const SERVICE_LABEL: &str = "service";
/// The label with the pool's name, if it has one.
pub const POOL_LABEL: &str = "pool";

/// Every histogram with its buckets, under both of its names, to configure an exporter with.
///
/// Without configured buckets `metrics-exporter-prometheus` renders histograms as summaries, whose
/// quantiles cannot be added up over instances. Matched by suffix, they hold with a prefix too:
///
/// ```
/// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
///
/// let mut exporter = PrometheusBuilder::new();
/// for (name, buckets) in tollgate_queue_metrics::names::buckets() {
///     exporter = exporter.set_buckets_for_metric(Matcher::Suffix(name.to_owned()), buckets)?;
/// }
/// # Ok::<_, metrics_exporter_prometheus::BuildError>(())
/// ```
pub fn buckets() -> impl Iterator<Item = (&'static str, &'static [f64])> {
    let histograms = ALL.iter().filter(|metric| metric.kind == Kind::Histogram);
    histograms.flat_map(|metric| [metric.name, metric.otel].map(|name| (name, metric.buckets)))
}
