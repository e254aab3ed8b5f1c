//! Where the time of one exchange went.

use std::net::SocketAddr;
use std::time::Duration;

/// The times of the phases of one exchange, and its connection.
///
/// A phase that did not happen is `None`: a request on a reused connection has no `dns`,
/// `connect` or `tls`. Those three are what the *connection* cost, which a request only waited for
/// as far as `queued` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Timings {
    /// From the call to a lease on a connection, that of each attempt; zero if one was idle. A wait
    /// in `poll_ready`, before the call, is not in it.
    pub queued: Duration,
    /// Name resolution for the dial of this connection.
    pub dns: Option<Duration>,
    /// From the first TCP attempt to the connected socket.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// From handing the request to the connection until the response head arrived.
    pub first_byte: Option<Duration>,
    /// True if the connection had served a request before.
    pub reused: bool,
    /// The time that the connection was idle before: since the end of its last exchange, or since it
    /// was opened. `None` before there is one.
    pub idle: Option<Duration>,
    /// The pool's number of the connection, counted from 1; 0 before there is one.
    pub connection: u64,
    /// The peer's address.
    pub remote: Option<SocketAddr>,
    /// The address of this end, as `ss` and a packet's capture show it.
    pub local: Option<SocketAddr>,
    /// The number of times that the request was started, counting the first: more than 1 after a
    /// retry.
    pub attempts: u32,
}
