//! Which version of HTTP a pool speaks, and how it uses HTTP/2.

use std::num::NonZeroUsize;
use std::time::Duration;

use tollgate_core::Origin;

/// RFC 9113 section 9.1 asks for one connection to an origin; .NET opens further ones when the streams
/// of the first are out, and four times the usual limit of 100 streams is a large service's peak.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");
/// What RFC 9113 section 6.5.2 recommends servers to allow at least, and most do.
const MAX_STREAMS: NonZeroUsize = NonZeroUsize::new(100).expect("not zero");
/// Well within the 60 s and more after which NATs and load balancers forget a silent flow.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// gRPC's default is 20 s; a peer that needs 10 s for a ping serves nobody.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Which version of HTTP a pool speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1. A connector that has agreed on HTTP/2 with the peer is an error.
    Http1,
    /// HTTP/2 on every connection, without asking: for `http` origins that are known to speak it
    /// (h2c, "prior knowledge"), as gRPC servers do.
    Http2,
    /// What the connector has agreed on with the peer: HTTP/2 if its
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
    /// Whether the first connection to `origin` may serve many at once.
    pub(crate) fn may_have_streams(self, origin: &Origin) -> bool {
        match self {
            Self::Http1 => false,
            Self::Http2 => true,
            Self::Auto => origin.scheme() == "https",
        }
    }
}

/// How a pool uses HTTP/2.
///
/// ```
/// use std::num::NonZeroUsize;
/// use tollgate_keep_alive::{Http2Options, KeepAliveLayer};
///
/// let two = NonZeroUsize::new(2).expect("not zero");
/// let layer = KeepAliveLayer::new().http2(Http2Options::new().max_connections_per_origin(two));
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until they are given to a layer"]
pub struct Http2Options {
    pub(crate) max_connections: NonZeroUsize,
    pub(crate) max_streams: NonZeroUsize,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Duration,
    pub(crate) stream_window: Option<u32>,
    pub(crate) connection_window: Option<u32>,
    pub(crate) adaptive_window: bool,
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
            max_connections: MAX_CONNECTIONS,
            max_streams: MAX_STREAMS,
            ping_interval: Some(PING_INTERVAL),
            ping_timeout: PING_TIMEOUT,
            stream_window: None,
            connection_window: None,
            adaptive_window: false,
        }
    }

    /// Most connections to one origin, if it speaks HTTP/2, within the cap of the pool. A further one
    /// is opened when the streams of the others are out, and closed when it idles. Default 4.
    pub const fn max_connections_per_origin(mut self, max: NonZeroUsize) -> Self {
        self.max_connections = max;
        self
    }

    /// Most requests at once on one connection; fewer if the peer allows fewer. Default 100.
    pub const fn max_streams_per_connection(mut self, max: NonZeroUsize) -> Self {
        self.max_streams = max;
        self
    }

    /// How long a connection is silent before it is pinged, idle or not; `None` for never.
    /// Default 30 s. A peer that has vanished is found after this and
    /// [`ping_timeout`](Self::ping_timeout).
    pub const fn ping_interval(mut self, interval: Option<Duration>) -> Self {
        self.ping_interval = interval;
        self
    }

    /// How long a ping may go unanswered before the connection is given up. Default 10 s.
    pub const fn ping_timeout(mut self, limit: Duration) -> Self {
        self.ping_timeout = limit;
        self
    }

    /// The flow-control window of each stream, in bytes. Default: hyper's, 2 MiB.
    pub const fn stream_window(mut self, bytes: u32) -> Self {
        self.stream_window = Some(bytes);
        self
    }

    /// The flow-control window of a whole connection, in bytes. Default: hyper's, 5 MiB.
    pub const fn connection_window(mut self, bytes: u32) -> Self {
        self.connection_window = Some(bytes);
        self
    }

    /// Lets both windows follow the measured bandwidth and delay, from 64 KiB. Default off.
    pub const fn adaptive_window(mut self, on: bool) -> Self {
        self.adaptive_window = on;
        self
    }
}
