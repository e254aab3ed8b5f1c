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
        /// It served as many requests as it may.
        MaxRequests => "max_requests",
        /// The peer announced it: `Connection: close`, HTTP/1.0, `Keep-Alive` limits, GOAWAY.
        PeerClose => "peer_close",
        /// The peer closed it and had not announced that: it was idle, or an answer was awaited.
        PeerEof => "peer_eof",
        /// An I/O or protocol error: a reset, what is not HTTP, a body cut short, a ping without answer.
        Error => "error",
        /// The caller went away in the middle of an exchange.
        Cancelled => "cancelled",
        /// The caller dropped a response body whose remainder was not at hand.
        BodyDropped => "body_dropped",
        /// The peer sent bytes that nobody had asked for.
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
        /// The pool was drained, closed or dropped, or the connection's runtime ended.
        Shutdown => "shutdown",
    }
}

labelled! {
    /// Why a request got no lease.
    RefuseReason {
        /// The queue was full.
        Full => "full",
        /// It waited as long as it may.
        TimedOut => "timeout",
        /// Its caller went away.
        Cancelled => "cancelled",
        /// The connection it waited for could not be opened.
        OpenFailed => "open_failed",
        /// The origin is backing off after failed opens.
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
    /// What went wrong with a connect.
    ConnectErrorKind {
        /// The name could not be resolved.
        Dns => "dns",
        /// Nothing listens there.
        Refused => "refused",
        /// No answer in time.
        TimedOut => "timeout",
        /// No route to the host or network.
        Unreachable => "unreachable",
        /// No local port is left for this destination (`EADDRNOTAVAIL`).
        PortsExhausted => "ports_exhausted",
        /// The process or the system is out of file descriptors (`EMFILE`, `ENFILE`).
        TooManyOpenFiles => "too_many_files",
        /// The TLS handshake failed.
        Tls => "tls",
        /// The address policy forbids the address.
        Blocked => "blocked",
        /// Anything else.
        Other => "other",
    }
}

impl ConnectErrorKind {
    /// The kind that a [`Classified`] in the error's chain of sources states, or else the one that
    /// can be read off the first `io::Error` there that tells one.
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
            .find(|kind| *kind != Self::Other)
            .unwrap_or(Self::Other)
    }

    /// The kind of an operating system error met in `socket`, `bind` or `connect`.
    pub fn of_io(error: &io::Error) -> Self {
        // Linux numbers; 98 is what `bind` to port 0 says when the ports are used up.
        if cfg!(target_os = "linux") {
            match error.raw_os_error() {
                Some(98 | 99) => return Self::PortsExhausted,
                Some(23 | 24) => return Self::TooManyOpenFiles,
                _ => {}
            }
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
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
            Self::TimedOut => "timed out",
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
/// that [`ConnectErrorKind::of`] finds it under a type that nobody above can name.
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
    fn a_stated_kind_wins_over_what_the_system_said() {
        let bind = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let stated = Classified::new(ConnectErrorKind::Other).because(bind);
        let wrapped = io::Error::other(stated);
        assert_eq!(ConnectErrorKind::of(&wrapped), ConnectErrorKind::Other);
        assert!(crate::error::chain(&wrapped).count() > 2);
    }

    #[test]
    fn labels_are_distinct_and_fit_for_a_metric() {
        let all = CloseReason::ALL.iter().map(|reason| reason.label());
        let mut labels: Vec<_> = all.collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), CloseReason::ALL.len());
        assert!(
            labels
                .iter()
                .all(|l| l.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn exhausted_ports_and_files_are_kinds_of_their_own() {
        let of = |code| ConnectErrorKind::of(&io::Error::from_raw_os_error(code));
        assert_eq!(of(99), ConnectErrorKind::PortsExhausted);
        assert_eq!(of(24), ConnectErrorKind::TooManyOpenFiles);
        assert_eq!(of(111), ConnectErrorKind::Refused);
        assert_eq!(of(113), ConnectErrorKind::Unreachable);
        assert_eq!(of(110), ConnectErrorKind::TimedOut);
    }

    #[test]
    fn the_kind_is_found_below_other_errors() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let wrapped = io::Error::other(refused);
        assert_eq!(ConnectErrorKind::of(&wrapped), ConnectErrorKind::Refused);
    }
}
