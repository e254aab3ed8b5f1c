//! The layer and its options.

use std::time::Duration;

use tollgate_core::Phase;
use tower_layer::Layer;

use crate::service::ConnectTimeout;

/// Gives a connector one time budget for each connection, and its phases limits of their own.
///
/// ```
/// # use std::time::Duration;
/// # use tollgate_connect_timeout::ConnectTimeoutLayer;
/// const CONNECT: ConnectTimeoutLayer = ConnectTimeoutLayer::new(Duration::from_secs(5))
///     .dns(Duration::from_secs(2))
///     .tls(Duration::from_secs(3));
/// # let _ = CONNECT;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ConnectTimeoutLayer {
    limits: Limits,
}

impl ConnectTimeoutLayer {
    /// Allows `total` from the first poll of the connector's future to the usable connection.
    ///
    /// Zero allows an answer that is ready at the first poll, and nothing else.
    pub const fn new(total: Duration) -> Self {
        Self {
            limits: Limits::total(total),
        }
    }

    /// Limits name resolution. Default: the budget alone.
    ///
    /// A phase limit bounds one unbroken stay in the phase: its clock starts anew when the
    /// connector reports another phase. A connector that reports none has no such limit.
    #[must_use]
    pub const fn dns(mut self, limit: Duration) -> Self {
        self.limits.dns = Some(limit);
        self
    }

    /// Limits the TCP connect, all attempts at all addresses together. Default: the budget alone.
    ///
    /// Below about 1 s, one lost SYN is a failed connect: that is when Linux first sends it again.
    #[must_use]
    pub const fn tcp(mut self, limit: Duration) -> Self {
        self.limits.tcp = Some(limit);
        self
    }

    /// Limits the TLS handshake. Default: the budget alone.
    #[must_use]
    pub const fn tls(mut self, limit: Duration) -> Self {
        self.limits.tls = Some(limit);
        self
    }
}

impl<S> Layer<S> for ConnectTimeoutLayer {
    type Service = ConnectTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConnectTimeout::with_limits(inner, self.limits)
    }
}

/// The time that a connect may take, in all and by phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) total: Duration,
    dns: Option<Duration>,
    tcp: Option<Duration>,
    tls: Option<Duration>,
}

impl Limits {
    pub(crate) const fn total(total: Duration) -> Self {
        Self {
            total,
            dns: None,
            tcp: None,
            tls: None,
        }
    }

    pub(crate) fn of(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Dns => self.dns,
            Phase::Tcp => self.tcp,
            Phase::Tls => self.tls,
            _ => None,
        }
    }
}
