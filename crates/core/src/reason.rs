//! Closed lists that metrics, snapshots and errors agree on.

use std::error::Error;
use std::{fmt, io};

use crate::error::BoxError;

/// Defines an enum together with the label each variant has in metrics and logs.
macro_rules! labelled {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $label:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value's name in metrics and logs.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

labelled! {
    /// Why a connection was closed.
    CloseReason {
        /// It was idle for the idle timeout.
        Idle => "idle",
        /// It reached its maximum lifetime.
        MaxAge => "max_age",
        /// It served as many requests as it may; or, over HTTP/2, so many of them were given up that its
        /// peer might soon end it over their resets.
        MaxRequests => "max_requests",
        /// The peer announced it: `Connection: close`, HTTP/1.0, `Keep-Alive` limits, GOAWAY.
        PeerClose => "peer_close",
        /// The peer closed it and had not announced that: it was idle, or an answer was awaited.
        PeerEof => "peer_eof",
        /// An I/O or protocol error: a connection reset, what is not HTTP, a body cut short, a ping without answer.
        Error => "error",
        /// The caller went away in the middle of an exchange.
        Cancelled => "cancelled",
        /// The caller dropped a response body whose remainder was not at hand.
        BodyDropped => "body_dropped",
        /// The peer sent bytes that belong to no response.
        Unsolicited => "unsolicited",
        /// More connections were idle than may be kept.
        MaxIdle => "max_idle",
        /// Its place was needed for another origin.
        Reclaimed => "reclaimed",
        /// Its address left the DNS answer.
        AddressGone => "address_gone",
        /// It became a tunnel or another protocol, and that ended.
        Upgraded => "upgraded",
        /// Its exchange did not end within the time a finished exchange has.
        Stuck => "stuck",
        /// It took no more requests, and those it had did not end within the drain timeout.
        DrainTimeout => "drain_timeout",
        /// The pool was drained, closed or dropped, or the connection's runtime ended.
        Shutdown => "shutdown",
    }
}

labelled! {
    /// Why a request got no lease.
    RefuseReason {
        /// The queue was full.
        QueueFull => "queue_full",
        /// It waited as long as it may.
        QueueTimeout => "queue_timeout",
        /// Its caller went away at once, or while a connection of its own was being opened.
        Cancelled => "cancelled",
        /// Its caller went away after waiting for capacity: for a lease that another request held.
        Abandoned => "abandoned",
        /// The connection it waited for could not be opened.
        Connect => "connect",
        /// The origin is backing off after failed opens, for longer than it can wait.
        BackingOff => "backing_off",
        /// The pool is draining or closed.
        Closed => "closed",
        /// Each connection that was to serve it closed before it could be used.
        ClosedBeforeSent => "closed_before_sent",
        /// It waited outside a runtime, where nothing can be dialled.
        NoRuntime => "no_runtime",
    }
}

labelled! {
    /// The end of an exchange that had a lease.
    ExchangeEnd {
        /// The response came to its end.
        Whole => "whole",
        /// The caller went away before that.
        Left => "left",
        /// It broke: the connection was lost, or what came made no sense.
        Broken => "broken",
        /// Nothing was sent.
        Unused => "unused",
    }
}

labelled! {
    /// The order in which those that wait for a lease are served.
    QueueOrder {
        /// First in, first out.
        Fifo => "fifo",
        /// The newest first, since callers leave before their turn comes.
        Newest => "newest",
    }
}

impl Default for QueueOrder {
    /// First in, first out.
    fn default() -> Self {
        Self::Fifo
    }
}

labelled! {
    /// The kinds of failure of a connect.
    ConnectErrorKind {
        /// The name could not be resolved.
        Dns => "dns",
        /// Nothing listens there.
        Refused => "refused",
        /// No answer in time.
        Timeout => "timeout",
        /// No route to the host or network.
        Unreachable => "unreachable",
        /// No local port is left for this destination (`EADDRNOTAVAIL`).
        PortsExhausted => "ports_exhausted",
        /// The process or the system is out of file descriptors (`EMFILE`, `ENFILE`).
        TooManyOpenFiles => "too_many_open_files",
        /// The TLS handshake failed.
        Tls => "tls",
        /// The address policy forbids the address.
        Blocked => "blocked",
        /// Anything else.
        Other => "other",
    }
}

impl ConnectErrorKind {
    /// Returns what to change, for the error of every layer that tells of such a failure; `None`
    /// where only the cause has it.
    pub const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Dns => "check the name, the search list and the name servers",
            Self::Refused => "check that something listens on that port",
            Self::Unreachable => "check routes, and whether the address family is in use here",
            Self::PortsExhausted => {
                "keep connections alive, lower the caps, or add local addresses"
            }
            Self::TooManyOpenFiles => {
                "raise the limit (ulimit -n) or lower the caps on connections"
            }
            Self::Blocked => "AddrPolicy::allow permits a network",
            Self::Timeout | Self::Tls | Self::Other => return None,
        })
    }

    /// The kind that a [`Classified`] in the error's chain of sources states, or else the one that
    /// can be read off the first `io::Error` there that has one.
    ///
    /// Layers that know better than the operating system (DNS, TLS, policy) put a `Classified` into
    /// their chain; the rest is for foreign connectors.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        if let Some(classified) = crate::error::find::<Classified>(error) {
            return classified.kind();
        }
        crate::error::chain(error)
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .map(Self::of_io)
            // One without a kind, such as an `io::Error` that wraps another, hides none further
            // down.
            .find(|kind| *kind != Self::Other)
            .unwrap_or(Self::Other)
    }

    /// The kind of an operating system error met in `socket`, `bind` or `connect`.
    pub fn of_io(error: &io::Error) -> Self {
        // Linux numbers; 98 is the error of `bind` to port 0 when the ports are used up.
        if cfg!(target_os = "linux") {
            match error.raw_os_error() {
                Some(98 | 99) => return Self::PortsExhausted,
                // `ENFILE` and `EMFILE`, for which std has no stable `ErrorKind`.
                Some(23 | 24) => return Self::TooManyOpenFiles,
                _ => {}
            }
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::PortsExhausted,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for ConnectErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "name not resolved",
            Self::Refused => "connection refused",
            Self::Timeout => "timed out",
            Self::Unreachable => "unreachable",
            Self::PortsExhausted => "local ports exhausted",
            Self::TooManyOpenFiles => "too many open files",
            Self::Tls => "TLS handshake failed",
            Self::Blocked => "blocked by the address policy",
            Self::Other => "failed",
        })
    }
}

/// A link in an error's chain of sources that states the kind of what lies below.
///
/// A connector that knows the kind of its failure puts this between its own error and the cause, so
/// that [`ConnectErrorKind::of`] finds it under a type that no layer above can name.
#[derive(Debug)]
pub struct Classified {
    kind: ConnectErrorKind,
    cause: Option<BoxError>,
}

impl Classified {
    /// A failure of this kind with no cause below it.
    pub const fn new(kind: ConnectErrorKind) -> Self {
        Self { kind, cause: None }
    }

    /// The same with what brought it about.
    #[must_use]
    pub fn because(self, cause: impl Into<BoxError>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..self
        }
    }

    /// The kind.
    pub const fn kind(&self) -> ConnectErrorKind {
        self.kind
    }
}

impl fmt::Display for Classified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Error for Classified {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stated_kind_overrules_the_system_error() {
        let bind = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let stated = Classified::new(ConnectErrorKind::Other).because(bind);
        let wrapped = io::Error::other(stated);
        assert_eq!(ConnectErrorKind::of(&wrapped), ConnectErrorKind::Other);
        assert!(crate::error::chain(&wrapped).count() > 2);
    }

    #[test]
    fn a_label_is_its_variant_in_snake_case() {
        let snake = |variant: String| {
            let under = |letter: char| letter.is_ascii_uppercase().then_some('_');
            let letters = variant.chars().flat_map(|letter| {
                under(letter)
                    .into_iter()
                    .chain([letter.to_ascii_lowercase()])
            });
            letters.skip(1).collect::<String>()
        };
        macro_rules! all {
            ($($kind:ident)*) => {
                $(for value in $kind::ALL {
                    assert_eq!(snake(format!("{value:?}")), value.label());
                })*
            };
        }
        all!(CloseReason RefuseReason ExchangeEnd QueueOrder ConnectErrorKind);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn exhausted_ports_and_descriptors_have_own_kinds() {
        let of = |code| ConnectErrorKind::of(&io::Error::from_raw_os_error(code));
        assert_eq!(of(99), ConnectErrorKind::PortsExhausted);
        assert_eq!(of(24), ConnectErrorKind::TooManyOpenFiles);
        assert_eq!(of(111), ConnectErrorKind::Refused);
        assert_eq!(of(113), ConnectErrorKind::Unreachable);
        assert_eq!(of(110), ConnectErrorKind::Timeout);
    }

    #[test]
    fn the_kind_is_found_below_other_errors() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let wrapped = io::Error::other(refused);
        assert_eq!(ConnectErrorKind::of(&wrapped), ConnectErrorKind::Refused);
    }
}
