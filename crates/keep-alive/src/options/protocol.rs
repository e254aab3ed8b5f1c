//! Which version of HTTP a pool speaks, and how it uses HTTP/2.

use std::num::NonZeroUsize;
use std::time::Duration;

use tollgate_core::Origin;

/// RFC 9113 section 9.1 asks for one connection to an origin; .NET opens further ones when the streams
/// of the first are out, and four times the usual limit of 100 streams is a large service's peak.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");
/// The least that RFC 9113 section 6.5.2 recommends servers to allow, and most do.
const MAX_STREAMS: NonZeroUsize = NonZeroUsize::new(100).expect("not zero");
/// A choice: longer than nearly every answer, so that few connections are ever asked.
const PROBE_AFTER: Duration = Duration::from_secs(5);
/// gRPC's default is 20 s; a peer that needs 10 s for a ping serves no request.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// hyper's default, and the bandwidth of 160 Mbit/s at 100 ms.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// The longest that there is (RFC 9113 section 6.9.1).
const MAX_WINDOW: u32 = u32::MAX >> 1;
/// About what hyper takes of an HTTP/1 head by default.
const MAX_HEADER_LIST: u32 = 400 * 1024;

/// The version of HTTP that a pool speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1. A connector that has agreed on HTTP/2 with the peer is an error.
    Http1,
    /// HTTP/2 on every connection, without asking: for `http` origins that are known to speak it
    /// (h2c, "prior knowledge"), as gRPC servers do.
    Http2,
    /// The version that the connector has agreed on with the peer: HTTP/2 if its
    /// [`Connected::is_negotiated_h2`](hyper_util::client::legacy::connect::Connected::is_negotiated_h2),
    /// else HTTP/1.1. The default.
    ///
    /// The first dial to an `https` origin goes alone, since one HTTP/2 connection may serve all who
    /// wait; when the peer turns out to speak HTTP/1.1 the others follow at once. Which it was is
    /// remembered as long as the origin is.
    #[default]
    Auto,
}

impl Protocol {
    /// Returns true if every connection speaks HTTP/2.
    pub(crate) fn is_always_http2(self) -> bool {
        self == Self::Http2
    }

    /// Returns true if the first connection to `origin` may serve many at once.
    pub(crate) fn may_be_http2(self, origin: &Origin) -> bool {
        match self {
            Self::Http1 => false,
            Self::Http2 => true,
            Self::Auto => origin.scheme() == "https",
        }
    }
}

/// The options of HTTP/2.
///
/// ```
/// use std::num::NonZeroUsize;
/// use tollgate_keep_alive::{Http2Options, KeepAliveLayer};
///
/// let two = NonZeroUsize::new(2).expect("not zero");
/// let layer = KeepAliveLayer::new().http2(Http2Options::new().max_http2_connections(two));
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until they are given to a layer"]
pub struct Http2Options {
    pub(crate) max_http2_connections: NonZeroUsize,
    pub(crate) max_streams: NonZeroUsize,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) probe_after: Option<Duration>,
    pub(crate) ping_timeout: Duration,
    pub(crate) max_header_list_size: u32,
    pub(crate) stream_window: u32,
    pub(crate) connection_window: Option<u32>,
    pub(crate) adaptive_window: bool,
    pub(crate) drain_timeout: Option<Duration>,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Http2Options {
    /// The defaults of each option.
    pub const fn new() -> Self {
        Self {
            max_http2_connections: MAX_CONNECTIONS,
            max_streams: MAX_STREAMS,
            ping_interval: None,
            probe_after: Some(PROBE_AFTER),
            ping_timeout: PING_TIMEOUT,
            max_header_list_size: MAX_HEADER_LIST,
            stream_window: STREAM_WINDOW,
            connection_window: None,
            adaptive_window: false,
            drain_timeout: None,
        }
    }

    /// Sets the most connections to one origin that speaks HTTP/2, within the cap of the pool. A further one
    /// is opened when the streams of the others are out, and closed when it idles. Default 4.
    ///
    /// One connection is one TCP stream: a lost packet holds up every exchange on it until it is sent again
    /// (head-of-line blocking). More connections with fewer streams each lose less by it.
    pub const fn max_http2_connections(mut self, max: NonZeroUsize) -> Self {
        self.max_http2_connections = max;
        self
    }

    /// Most requests at once on one connection; fewer if the peer allows fewer by its
    /// `SETTINGS_MAX_CONCURRENT_STREAMS` (max concurrent streams, RFC 9113 section 6.5.2). Default 100.
    pub const fn max_streams_per_connection(mut self, max: NonZeroUsize) -> Self {
        self.max_streams = max;
        self
    }

    /// The time that a connection is silent before it is pinged, idle or not; `None`, the default,
    /// for never. A peer that has vanished is found after this and
    /// [`ping_timeout`](Self::ping_timeout).
    ///
    /// Mind the server: gRPC's end a connection with `too_many_pings` if they are pinged more often
    /// than every 5 minutes while nothing is sent. The interval of an origin that did so is doubled.
    pub const fn ping_interval(mut self, interval: Option<Duration>) -> Self {
        self.ping_interval = interval;
        self
    }

    /// The time that a connection is silent before it is pinged while a request on it is
    /// unanswered; `None` for never. Default 5 s. At most two such pings go out until HEADERS or
    /// DATA come, and then one every 5 minutes, which gRPC's servers allow.
    ///
    /// A path that died is found earlier where calls are given up: one that is dropped, after 250 ms
    /// of silence or more since a request was sent, makes the pool ask at once, and newcomers go to
    /// another connection until a frame comes.
    pub const fn probe_after(mut self, silence: Option<Duration>) -> Self {
        self.probe_after = silence;
        self
    }

    /// The time that a ping may go unanswered before the connection is given up. Default 10 s.
    pub const fn ping_timeout(mut self, limit: Duration) -> Self {
        self.ping_timeout = limit;
        self
    }

    /// The longest header section of a response, in bytes as RFC 9113 section 6.5.2 counts them: 32
    /// more for each field. Default 400 KiB. A longer one fails its request alone; one that is
    /// far longer ends the connection.
    pub const fn max_header_list_size(mut self, bytes: u32) -> Self {
        self.max_header_list_size = bytes;
        self
    }

    /// The longest time for which a connection that takes no more requests, after a GOAWAY or at its
    /// [maximum lifetime](crate::OriginOptions::max_lifetime), finishes those it has; what is left is cut
    /// and counted as [`DrainTimeout`](tollgate_core::CloseReason::DrainTimeout). Default `None`: a
    /// stream may last as long as it likes, and a connection past its age serves on until its
    /// replacement is there. Where more than four of an origin drain and a request needs a place, the
    /// oldest of them is cut.
    pub const fn drain_timeout(mut self, limit: Option<Duration>) -> Self {
        self.drain_timeout = limit;
        self
    }

    /// The flow-control window of each stream, in bytes; from 1 to 2^31 - 1 (RFC 9113 section 6.9.1),
    /// and what is beyond is taken for that. Default 2 MiB.
    pub const fn stream_window(mut self, bytes: u32) -> Self {
        self.stream_window = window(bytes);
        self
    }

    /// The flow-control window of a whole connection, in bytes. Default: that of each stream that it
    /// may carry, together 200 MiB, so that bodies which are not read hold up no other stream.
    ///
    /// That is also the most that a connection may have in memory of them. With a smaller window, a
    /// connection takes no further streams while it is used up, and the next one is opened.
    pub const fn connection_window(mut self, bytes: u32) -> Self {
        self.connection_window = Some(window(bytes));
        self
    }

    pub(crate) fn window_of_connection(&self) -> u32 {
        let streams = u32::try_from(self.max_streams.get()).unwrap_or(u32::MAX);
        let of_all = self.stream_window.saturating_mul(streams).min(MAX_WINDOW);
        self.connection_window.unwrap_or(of_all)
    }

    /// Lets both windows follow the measured bandwidth and delay, from 64 KiB. Default off.
    pub const fn adaptive_window(mut self, on: bool) -> Self {
        self.adaptive_window = on;
        self
    }
}

/// A window that HTTP/2 has a number for.
const fn window(bytes: u32) -> u32 {
    match bytes {
        0 => 1,
        bytes if bytes > MAX_WINDOW => MAX_WINDOW,
        bytes => bytes,
    }
}
