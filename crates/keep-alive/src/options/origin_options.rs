//! The options that an origin may have of its own, each declared once.
//!
//! [`__origin_options!`] is the declaration. From it come [`OriginOptions`], the setters of
//! [`KeepAliveLayer`](crate::KeepAliveLayer) for all origins, those of the facade's builder, the
//! refusal of zero, and [`Limits`], which the pool reads.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use crate::options::invalid::InvalidOption;

/// A starting point taken from the article that describes the incident this library is for; not
/// measured. The crate's front page has how to choose.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");
/// A choice, not a measurement: it fills 128 places in eight rounds of dials.
const MAX_CONNECTING: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
/// Envoy's `max_pending_requests`.
const MAX_WAITING: usize = 1024;
/// linkerd's failfast.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Half of what servers allow a connection to idle, 60 s in nginx' and most load balancers' defaults
/// (75 s and 60 s), so that the race for a closing connection is rare.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Long enough to be worth a handshake, short enough for a DNS change or a scale-out to be seen.
const MAX_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Twice the facade's connect budget: a backstop for connectors without a timeout of their own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Too long for any clock, which is what a limit without a value is.
const NO_LIMIT: Duration = Duration::MAX;

/// Calls a macro with every option that an origin may have of its own:
/// `name(argument: type) = default, not 0: "advice";`.
///
/// The advice stands where zero makes no sense. A macro that makes setters for configurations read
/// from outside takes [`__plain!`]`(type)`, so that zero can be refused with its advice.
#[doc(hidden)]
#[macro_export]
macro_rules! __origin_options {
    ($with:ident) => {
        $with! {
            /// Sets the most connections to one origin, those that are being opened included.
            /// Default 128.
            ///
            /// Choose it from the requests in flight at peak, requests per second times seconds per
            /// request, with room above that mean: for 5 take 12, for 20 take 32, for 100 take 125.
            max_connections_per_origin(max: NonZeroUsize) = MAX_CONNECTIONS,
                not 0: "no request could ever be sent; 1 is the least";
            /// Sets the most dials in progress to one origin, so that a cold burst is not a storm of
            /// handshakes. Default 16.
            max_connecting_per_origin(max: NonZeroUsize) = MAX_CONNECTING,
                not 0: "no request could ever be sent; 1 is the least";
            /// Sets the most idle connections kept per origin; 0 keeps none. Default: as many as may
            /// be open, since closing a warm connection only to open another is what a pool is there
            /// to avoid.
            max_idle_per_origin(max: usize) = usize::MAX;
            /// Sets the number of connections kept idle per origin once it has been used, also
            /// without requests. Default 0.
            min_idle_per_origin(min: usize) = 0;
            /// Sets the most requests waiting for one origin; one more is refused at once. 0 never
            /// queues. Default 1,024.
            max_waiting(max: usize) = MAX_WAITING;
            /// Sets the longest wait for a connection, not counting the time in which a dial of the
            /// request's own is under way. Default 3 s.
            acquire_timeout(limit: Duration) = ACQUIRE_TIMEOUT,
                not 0: "max_waiting(0) never waits; else name a time";
            /// Sets the longest time that a connection may idle. Default 30 s: half of the 60 s after
            /// which most servers and load balancers close, so that this side closes first.
            ///
            /// A server's `Keep-Alive: timeout=`, less a second, shortens it for that connection; see
            /// [`keep_alive_hint_max`](Self::keep_alive_hint_max) for lengthening it. A Node server
            /// closes after 5 s and does not always announce it.
            idle_timeout(limit: Duration) = IDLE_TIMEOUT,
                not 0: "max_idle_per_origin(0) keeps nothing; else name a time";
            /// Sets the longest time that a connection may idle if its server's
            /// `Keep-Alive: timeout=`, less a second, is longer than the
            /// [`idle_timeout`](Self::idle_timeout). Default: as long as the idle timeout, so that a
            /// hint only ever shortens.
            ///
            /// Raise it for servers that are reached directly: one behind a load balancer knows its
            /// own timeout, but not that of the balancer.
            keep_alive_hint_max(limit: Duration) = Duration::ZERO;
            /// Sets the age at which a connection is retired, give or take a tenth, so that DNS
            /// changes and new servers behind a load balancer are noticed. Default 5 min. It is
            /// retired between two requests.
            max_lifetime(limit: Duration) = MAX_LIFETIME,
                not 0: "leave the option out for the default, or name a time";
            /// Sets the most requests on one connection. Default: no limit.
            max_requests_per_connection(max: NonZeroU64) = NonZeroU64::MAX,
                not 0: "a connection that carries no request is of no use; 1 is the least";
            /// Sets the longest time for one connect: name resolution, TCP, TLS and the preface of
            /// HTTP/2 together. Default: 5 s in the facade's client; in the layer, the budget of a
            /// `ConnectTimeoutLayer` below where that is longer than 10 s, else 10 s, which is a backstop
            /// for connectors without a timeout of their own.
            ///
            /// A request also waits for connects that others began; its longest wait in all is
            /// [`acquire_timeout`](Self::acquire_timeout) plus the time of a dial of its own.
            connect_timeout(limit: Duration) = CONNECT_TIMEOUT,
                not 0: "no connection is made in no time";
            /// Sets the time for all of a request: from the call to the end of the response body.
            /// Default: none, so that long answers and streams are not cut; set it wherever an
            /// answer that comes later is of no use.
            ///
            /// A request that waits is refused once this leaves less time than its origin's exchanges
            /// typically take: it would be sent, and given up before its answer came. Tollgate's client
            /// ends the exchange when it is over; over the pool alone, a timeout round call and body
            /// does that. A request has one of its own with [`Limits`](tollgate_core::Limits) in its
            /// extensions.
            timeout(limit: Duration) = NO_LIMIT,
                not 0: "leave the option out for the default, or name a time";
            /// Sets the time from the call to the head of the response, waiting for a connection
            /// included. Default: none. The queue keeps to it as to [`timeout`](Self::timeout), and
            /// Tollgate's client ends the exchange.
            ///
            /// When it strikes, the server may have acted on the request, unless the error's
            /// `nothing_sent` is true: then it still waited.
            response_timeout(limit: Duration) = NO_LIMIT,
                not 0: "leave the option out for the default, or name a time";
            /// Sets the longest silence in the middle of a response body, while it is being read: a
            /// caller that does not poll the body is not timed. Default: none. Tollgate's client keeps
            /// it.
            body_idle_timeout(limit: Duration) = NO_LIMIT,
                not 0: "leave the option out for the default, or name a time";
        }
    };
}

/// The type in which an option comes from outside, where it may still be zero.
#[doc(hidden)]
#[macro_export]
macro_rules! __plain {
    (NonZeroUsize) => {
        usize
    };
    (NonZeroU64) => {
        u64
    };
    ($type:ident) => {
        $type
    };
}

macro_rules! origin_options {
    ($(
        $(#[$doc:meta])*
        $name:ident($arg:ident: $type:ident) = $default:expr $(, not 0: $advice:literal)?;
    )*) => {
        /// The options of one origin, for [`KeepAliveLayer::origin`](crate::KeepAliveLayer::origin)
        /// and the facade's builder. Each that is not set is that of all origins.
        ///
        /// Values are checked where the options are given to a layer or a client: zero is refused
        /// where it makes no sense, and never means "unlimited".
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[must_use = "options do nothing until they are given to a layer"]
        pub struct OriginOptions {
            $(pub(super) $name: Option<$crate::__plain!($type)>,)*
        }

        impl OriginOptions {
            /// Returns options with nothing set.
            pub const fn new() -> Self {
                Self { $($name: None,)* }
            }

            $(
                $(#[$doc])*
                pub const fn $name(mut self, $arg: $crate::__plain!($type)) -> Self {
                    self.$name = Some($arg);
                    self
                }
            )*

            /// Returns these options, and those of `all` where these are not set.
            pub(crate) fn or(self, all: Self) -> Self {
                Self { $($name: self.$name.or(all.$name),)* }
            }

            /// Returns the values that hold: the defaults where nothing is set.
            pub(crate) fn limits(self) -> Limits {
                Limits {
                    $($name: self.$name.and_then(|set| set.try_into().ok()).unwrap_or($default),)*
                }
            }

            fn check_zeros(&self) -> Result<(), InvalidOption> {
                $($(if self.$name == Some(Default::default()) {
                    return Err(InvalidOption::zero(stringify!($name), $advice));
                })?)*
                Ok(())
            }
        }

        /// The options of one origin as they hold.
        #[derive(Clone, Copy, Debug)]
        #[expect(dead_code, reason = "the limits of a request are read as they were set")]
        pub(crate) struct Limits {
            $(pub(crate) $name: $type,)*
        }
    };
}
__origin_options!(origin_options);

impl OriginOptions {
    /// Returns the connect timeout, if one is set.
    pub const fn own_connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// Returns the limits of each request, as far as they are set.
    pub fn time_limits(&self) -> tollgate_core::Limits {
        let mut limits = tollgate_core::Limits::new();
        limits.timeout = self.timeout;
        limits.response_timeout = self.response_timeout;
        limits.body_idle_timeout = self.body_idle_timeout;
        limits
    }

    /// Refuses values that make no sense beside those of `all` origins and the `total` cap.
    pub(crate) fn check(self, all: Self, total: Option<NonZeroUsize>) -> Result<(), InvalidOption> {
        self.check_zeros()?;
        self.or(all).check_limits()?;
        let limits = self.or(all).limits();
        let most = limits.max_idle_per_origin;
        let most = most.min(limits.max_connections_per_origin.get());
        let most = total.map_or(most, |total| most.min(total.get()));
        if self.min_idle_per_origin.is_some_and(|min| min > most) {
            return Err(InvalidOption::above(
                "min_idle_per_origin",
                "more cannot be kept than max_idle_per_origin, max_connections_per_origin and \
                 max_connections_total allow",
            ));
        }
        Ok(())
    }
}
