//! The table of every metric: one constant each, for code, documentation, alerts and tests.
//!
//! ```
//! for metric in tollgate_sockets::names::ALL {
//!     println!("{} ({:?}): {}", metric.name, metric.kind, metric.description);
//! }
//! ```

/// The description of one metric. Its unit is one, as of every count and ratio.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name as Prometheus writes it.
    pub name: &'static str,
    /// Its name as OpenTelemetry writes it.
    pub otel: &'static str,
    /// Gauge or counter.
    pub kind: Kind,
    /// One sentence for people.
    pub description: &'static str,
    /// Every label of its series.
    pub labels: &'static [&'static str],
}

/// The kinds of metric in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A value that only grows.
    Counter,
}

/// The label with an origin's host, or `_other`.
pub const SERVER_ADDRESS: &str = "server_address";
/// The label with an origin's port, also where it is the scheme's default; 0 for `_other`.
pub const SERVER_PORT: &str = "server_port";
/// The label with a [state](crate::TcpState).
pub const STATE: &str = "state";
/// The label with the [side](crate::ClosedFirst) that closed first.
pub const SIDE: &str = "side";

/// `http_client_sockets`
pub const SOCKETS: Metric = Metric {
    name: "http_client_sockets",
    otel: "http.client.sockets",
    kind: Kind::Gauge,
    description: "Sockets to the origin's addresses in the kernel's table, those of all processes of the network namespace, by state of TCP.",
    labels: &[SERVER_ADDRESS, SERVER_PORT, STATE],
};

/// `http_client_port_headroom_ratio`
pub const PORT_HEADROOM: Metric = Metric {
    name: "http_client_port_headroom_ratio",
    otel: "http.client.port_headroom_ratio",
    kind: Kind::Gauge,
    description: "The share of local ports that is left to the origin's fullest address: below 0.5 dials are slow, at 0 they fail.",
    labels: &[SERVER_ADDRESS, SERVER_PORT],
};

/// `http_client_sockets_closed_total`
pub const CLOSED: Metric = Metric {
    name: "http_client_sockets_closed_total",
    otel: "http.client.sockets_closed",
    kind: Kind::Counter,
    description: "Connections that were closed, by the side that closed first: local ones hold a port in TIME_WAIT for a minute.",
    labels: &[SERVER_ADDRESS, SERVER_PORT, SIDE],
};

/// `process_fd_headroom_ratio`
pub const FD_HEADROOM: Metric = Metric {
    name: "process_fd_headroom_ratio",
    otel: "process.fd_headroom_ratio",
    kind: Kind::Gauge,
    description: "The share of the limit on file descriptors that is left to the process.",
    labels: &[],
};

/// Every metric of this crate.
pub const ALL: &[Metric] = &[SOCKETS, PORT_HEADROOM, CLOSED, FD_HEADROOM];
