//! The configuration of a pool.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use tollgate_admission::Discipline;
use tollgate_core::{Observer, Origin};
use tower_layer::Layer;

use crate::dial::connector::Connector;
use crate::face::service::KeepAlive;
use crate::options::config::Config;
use crate::options::http1::Http1Options;
use crate::options::invalid::InvalidOption;
use crate::options::observed::Observed;
use crate::options::origin_options::OriginOptions;
use crate::options::protocol::{Http2Options, Protocol};
use crate::options::retry::RetryPolicy;
use crate::pool::total::TotalLimit;

/// Turns a connector into a [`KeepAlive`] pool.
///
/// ```
/// use std::time::Duration;
/// use tollgate_keep_alive::KeepAliveLayer;
///
/// let layer = KeepAliveLayer::new().idle_timeout(Duration::from_secs(50)).max_waiting(64);
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeepAliveLayer {
    config: Config,
    /// In the place of a limit of each pool's own.
    total: Option<TotalLimit>,
}

impl KeepAliveLayer {
    /// A pool with the defaults of each option.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most connections to all origins together. Default: no limit of its own.
    ///
    /// When it blocks a request, the connection that has idled longest, of any origin, is closed for
    /// it; if none is idle, the origin that has waited longest gets the next place.
    #[must_use]
    pub fn max_connections_total(mut self, max: NonZeroUsize) -> Self {
        self.config.max_connections_total = Some(max);
        self.total = None;
        self
    }

    /// Puts the pools that this layer makes under a limit which they share, with each other and with
    /// those of other layers that have it, in the place of
    /// [`max_connections_total`](Self::max_connections_total).
    ///
    /// Connections are closed and places are passed on across these pools as they are across the origins
    /// of one.
    #[must_use]
    pub fn total_limit(mut self, limit: TotalLimit) -> Self {
        self.config.max_connections_total = Some(limit.max());
        self.total = Some(limit);
        self
    }

    /// Sets for how long no connection to a server is used twice after it sent bytes that belong to
    /// no response. Default: off; the connection itself is always closed.
    ///
    /// Bytes that arrive after the next request was sent cannot be distinguished from its answer, so a server
    /// that desynchronises once is better not trusted for a while where answers are sensitive.
    #[must_use]
    pub fn quarantine(mut self, length: Duration) -> Self {
        self.config.quarantine = Some(length);
        self
    }

    /// Sets the version of HTTP. Default [`Protocol::Auto`]: what the connector agreed on with the
    /// peer.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.config.protocol = protocol;
        self
    }

    /// Gives all origins these options, in the place of those they were given before.
    ///
    /// # Errors
    ///
    /// If one of them is zero where that makes no sense, or above another that bounds it, such as
    /// [`max_connections_total`](Self::max_connections_total).
    pub fn each_origin(mut self, options: OriginOptions) -> Result<Self, InvalidOption> {
        options.check(options, self.config.max_connections_total)?;
        self.config.all = options;
        Ok(self)
    }

    /// Gives one origin options of its own, in the place of those it was given before.
    ///
    /// # Errors
    ///
    /// As [`each_origin`](Self::each_origin).
    pub fn origin(mut self, origin: Origin, options: OriginOptions) -> Result<Self, InvalidOption> {
        options.check(self.config.all, None)?;
        self.config.set_own(origin, options);
        Ok(self)
    }

    /// Adds an observer of what happens in the pool, in the place of the one before. Default: none,
    /// at no cost. A panic of the observer is logged and changes nothing.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.config.observer = Some(Observed(observer));
        self
    }
}

macro_rules! of_all_origins {
    ($(
        $(#[$doc:meta])*
        $name:ident($arg:ident: $type:ident) = $default:expr $(, not 0: $advice:literal)?;
    )*) => {
        /// The options of all origins, which [`origin`](Self::origin) replaces for one.
        impl KeepAliveLayer {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $arg: $type) -> Self {
                    self.config.all = self.config.all.$name($arg.into());
                    self
                }
            )*
        }
    };
}
crate::__origin_options!(of_all_origins);

macro_rules! of_the_pool {
    ($($(#[$doc:meta])* $name:ident($arg:ident: $type:ty);)*) => {
        /// The options of the whole pool.
        impl KeepAliveLayer {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $arg: $type) -> Self {
                    self.config.$name = $arg.into();
                    self
                }
            )*
        }
    };
}
crate::__pool_options!(of_the_pool);

impl<C> Layer<C> for KeepAliveLayer
where
    C: Connector,
{
    type Service = KeepAlive;

    fn layer(&self, connector: C) -> KeepAlive {
        KeepAlive::with_config(connector, self.config.clone(), self.total.clone())
    }
}
