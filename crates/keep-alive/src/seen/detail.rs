//! The state of each connection of an origin.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{ResourceInfo, ResourceState};

use crate::connection::conn::Conn;
use crate::connection::guarded::SharedWire;
use crate::pool::inner::Inner;
use crate::pool::origin_pool::OriginPool;
use crate::seen::stats::OriginStats;

/// One origin at one moment, each of its connections included. `Display` prints an aligned table of
/// them.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OriginDetail {
    /// The origin, read at the same moment.
    pub stats: OriginStats,
    /// One entry a connection whose socket is not gone, in the order in which they were opened.
    pub connections: Vec<ConnectionStats>,
}

/// One connection at one moment.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Its number, counted from 1 over the whole pool: the one in events, spans and `Timings`.
    pub number: u64,
    /// Its state.
    pub state: ConnectionState,
    /// The time that ago it was opened.
    pub age: Duration,
    /// The time that it has had nothing to do; `None` while it has.
    pub idle_for: Option<Duration>,
    /// Requests that it was given, the present ones included.
    pub served: u64,
    /// The protocol spoken on it, by its ALPN name.
    pub protocol: &'static str,
    /// The peer's address, if the connector tells.
    pub remote: Option<SocketAddr>,
    /// Requests on it now: of HTTP/1 one at most.
    pub streams: usize,
    /// Requests that it takes at once.
    pub max_streams: usize,
    /// The silence after which it is pinged; `None` for never, as by default. It is
    /// [`Http2Options::ping_interval`](crate::Http2Options::ping_interval), doubled for each time that the
    /// origin ended a connection with `too_many_pings`.
    pub ping_interval: Option<Duration>,
    /// The silence after which it is pinged while a request is unanswered, doubled likewise; `None` for
    /// HTTP/1.
    pub probe_after: Option<Duration>,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It waits for a request.
    Idle,
    /// A request is on it.
    Active,
    /// It takes no more requests and finishes those it has.
    Draining,
    /// It is being closed.
    Closing,
}

impl ConnectionState {
    /// The state in a word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Closing => "closing",
        }
    }

    const fn of(resource: &ResourceInfo) -> Self {
        match resource.state {
            ResourceState::Live if resource.idle_since.is_some() => Self::Idle,
            ResourceState::Live => Self::Active,
            ResourceState::Retiring(_) => Self::Draining,
            ResourceState::Closing(_) => Self::Closing,
        }
    }
}

impl ConnectionStats {
    fn new(conn: &Conn, resource: &ResourceInfo, now: Instant) -> Self {
        let pace = conn.wire.get().map(SharedWire::pace);
        Self {
            number: conn.number,
            state: ConnectionState::of(resource),
            age: now.saturating_duration_since(resource.created),
            idle_for: resource
                .idle_since
                .map(|since| now.saturating_duration_since(since)),
            served: resource.served,
            protocol: if conn.is_http2 { "h2" } else { "http/1.1" },
            remote: conn.dial.remote,
            streams: resource.leases,
            max_streams: resource.capacity,
            ping_interval: pace.and_then(|pace| pace.every),
            probe_after: pace.and_then(|pace| pace.probe_after),
        }
    }
}

impl OriginPool {
    /// Everything about the origin, read under one lock.
    pub(crate) fn detail(&self) -> OriginDetail {
        let now = Instant::now();
        let (numbers, mut connections) =
            self.read(|inner| (inner.numbers_locked(), inner.connections_locked(now)));
        // Sorted outside the lock, which is held for the copy alone.
        connections.sort_unstable_by_key(|connection| connection.number);
        OriginDetail {
            stats: self.stats_of(&numbers),
            connections,
        }
    }
}

impl Inner {
    fn connections_locked(&self, now: Instant) -> Vec<ConnectionStats> {
        let all = self.conns.iter().flatten();
        let known = all.filter_map(|entry| {
            let resource = self.engine.resource(entry.resource)?;
            Some(ConnectionStats::new(&entry.conn, &resource, now))
        });
        known.collect()
    }
}

impl fmt::Display for OriginDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.connections.iter().map(remote).collect();
        let longest = addresses.iter().map(String::len).max();
        let width = longest.unwrap_or(0).max("remote".len());
        write!(
            f,
            "{:>10}  {:8}  {:width$}  {:8}  {:>10}  {:>10}  {:>8}  {:>7}",
            "connection", "state", "remote", "protocol", "age", "idle for", "served", "streams"
        )?;
        for (connection, remote) in self.connections.iter().zip(&addresses) {
            let ConnectionStats {
                number,
                state,
                protocol,
                served,
                streams,
                max_streams,
                ..
            } = connection;
            let state = state.label();
            let age = whole_millis(connection.age);
            let idle = connection
                .idle_for
                .map_or_else(|| "-".to_owned(), whole_millis);
            write!(
                f,
                "\n{number:>10}  {state:8}  {remote:width$}  {protocol:8}"
            )?;
            let streams = format!("{streams}/{max_streams}");
            write!(f, "  {age:>10}  {idle:>10}  {served:>8}  {streams:>7}")?;
        }
        Ok(())
    }
}

fn remote(connection: &ConnectionStats) -> String {
    connection
        .remote
        .map_or_else(|| "-".to_owned(), |remote| remote.to_string())
}

fn whole_millis(time: Duration) -> String {
    format!("{:.3}s", time.as_secs_f64())
}
