//! The closed list of what a caller can meet.

use std::fmt;

use tollgate_core::error::find;
use tollgate_core::{ConnectErrorKind, ConnectTimedOut, Phase};
use tollgate_keep_alive::{KeepAliveError, KeepAliveErrorKind};

/// The kind of an [`Error`](crate::Error). [`guide::errors`](crate::guide::errors) has the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request's URI has no scheme and host, or its headers cannot be sent.
    InvalidRequest,
    /// As many requests wait for this origin as may.
    QueueFull,
    /// The request waited for a connection as long as it may.
    QueueTimeout,
    /// All connections of the origin are held by callers that wait for another one there
    /// ([`detect_deadlocks`](crate::ClientBuilder::detect_deadlocks)).
    Deadlock,
    /// The connect budget, or a phase's own limit, was used up.
    ConnectTimeout {
        /// The phase it was in; [`Phase::Connect`] if the connector did not report it.
        phase: Phase,
    },
    /// The name could not be resolved.
    Dns,
    /// Nothing listens there.
    ConnectRefused,
    /// No route to the host or network.
    Unreachable,
    /// No local port is left for this destination.
    PortsExhausted,
    /// The process or the system is out of file descriptors.
    TooManyOpenFiles,
    /// The TLS handshake failed, or the peer refused our certificate after it.
    Tls,
    /// The address policy forbids every address of the host.
    Blocked,
    /// The connect failed in some other way.
    Connect,
    /// Every connection tried was closed before the request was written.
    ClosedBeforeSent,
    /// The connection was closed after the request, or a part of it, was written and before a
    /// response head came.
    ClosedAfterSent,
    /// The request body failed, or the response is not HTTP.
    Exchange,
    /// The response head did not come within the response timeout.
    ResponseTimeout,
    /// The whole call, to the end of its response body, took longer than its timeout.
    Timeout,
    /// The response body broke off.
    Body,
    /// The response body was silent for the body idle timeout.
    BodyTimeout,
    /// The response body has more bytes than the caller takes.
    BodyTooLarge,
    /// The response body is not what it should be, such as JSON of another shape.
    Decode,
    /// The client was drained or closed.
    Closed,
    /// There is no tokio runtime here.
    NoRuntime,
}

impl ErrorKind {
    /// Every kind, in the order of declaration; [`ConnectTimeout`](Self::ConnectTimeout) with the
    /// phase of a connector that reports none.
    pub const ALL: &'static [Self] = &[
        Self::InvalidRequest,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::Deadlock,
        Self::ConnectTimeout {
            phase: Phase::Connect,
        },
        Self::Dns,
        Self::ConnectRefused,
        Self::Unreachable,
        Self::PortsExhausted,
        Self::TooManyOpenFiles,
        Self::Tls,
        Self::Blocked,
        Self::Connect,
        Self::ClosedBeforeSent,
        Self::ClosedAfterSent,
        Self::Exchange,
        Self::ResponseTimeout,
        Self::Timeout,
        Self::Body,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::Decode,
        Self::Closed,
        Self::NoRuntime,
    ];

    /// The kind's name in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Deadlock => "deadlock",
            Self::ConnectTimeout { .. } => "connect_timeout",
            Self::Dns => "dns",
            Self::ConnectRefused => "connect_refused",
            Self::Unreachable => "unreachable",
            Self::PortsExhausted => "ports_exhausted",
            Self::TooManyOpenFiles => "too_many_open_files",
            Self::Tls => "tls",
            Self::Blocked => "blocked",
            Self::Connect => "connect",
            Self::ClosedBeforeSent => "closed_before_sent",
            Self::ClosedAfterSent => "closed_after_sent",
            Self::Exchange => "exchange",
            Self::ResponseTimeout => "response_timeout",
            Self::Timeout => "timeout",
            Self::Body => "body",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::Decode => "decode",
            Self::Closed => "closed",
            Self::NoRuntime => "no_runtime",
        }
    }

    /// Returns true if errors of this kind come before the request is sent, as a rule, and another
    /// attempt may fare better. [`Error::is_retryable`](crate::Error::is_retryable) knows more: a
    /// client certificate may be refused late, an earlier attempt may have been sent, and a
    /// response timeout or a timeout may strike in the queue.
    pub const fn is_retryable(self) -> bool {
        self.nothing_sent()
            && !matches!(
                self,
                Self::InvalidRequest
                    | Self::Deadlock
                    | Self::Blocked
                    | Self::Closed
                    | Self::NoRuntime
            )
    }

    /// Returns true of kinds that are about opening a connection, as a rule.
    pub(crate) const fn is_connect(self) -> bool {
        matches!(
            self,
            Self::ConnectTimeout { .. }
                | Self::Dns
                | Self::ConnectRefused
                | Self::Unreachable
                | Self::PortsExhausted
                | Self::TooManyOpenFiles
                | Self::Tls
                | Self::Blocked
                | Self::Connect
        )
    }

    /// Returns true if the last attempt sent nothing, as a rule: a client certificate that is
    /// refused late is a [`Tls`](Self::Tls) too. See
    /// [`Error::nothing_sent`](crate::Error::nothing_sent).
    pub(crate) const fn nothing_sent(self) -> bool {
        !matches!(
            self,
            Self::ClosedAfterSent
                | Self::Exchange
                | Self::ResponseTimeout
                | Self::Timeout
                | Self::Body
                | Self::BodyTimeout
                | Self::BodyTooLarge
                | Self::Decode
        )
    }

    /// The kind of a pool's error, with that of the failed connect below it.
    pub(crate) fn of(error: &KeepAliveError) -> Self {
        match error.kind() {
            KeepAliveErrorKind::InvalidRequest => Self::InvalidRequest,
            KeepAliveErrorKind::QueueFull => Self::QueueFull,
            KeepAliveErrorKind::QueueTimeout => Self::QueueTimeout,
            // A back-off is of the kind of the dial that failed, which is what is wrong.
            KeepAliveErrorKind::Connect | KeepAliveErrorKind::BackingOff => Self::of_connect(error),
            KeepAliveErrorKind::Closed => Self::Closed,
            KeepAliveErrorKind::NoRuntime => Self::NoRuntime,
            KeepAliveErrorKind::ClosedBeforeSent => Self::ClosedBeforeSent,
            // Before the two below: the alert also ends the connection that the request was on.
            _ if certificate_refused(error) => Self::Tls,
            KeepAliveErrorKind::ClosedAfterSent => Self::ClosedAfterSent,
            _ => Self::Exchange,
        }
    }

    fn of_connect(error: &KeepAliveError) -> Self {
        // The error that knows its phase comes first: by its class alone a timeout is one of
        // `connect`.
        if let Some(late) = find::<ConnectTimedOut>(error) {
            return Self::ConnectTimeout {
                phase: late.phase(),
            };
        }
        match ConnectErrorKind::of(error) {
            ConnectErrorKind::Dns => Self::Dns,
            ConnectErrorKind::Refused => Self::ConnectRefused,
            ConnectErrorKind::Timeout => Self::ConnectTimeout {
                phase: Phase::Connect,
            },
            ConnectErrorKind::Unreachable => Self::Unreachable,
            ConnectErrorKind::PortsExhausted => Self::PortsExhausted,
            ConnectErrorKind::TooManyOpenFiles => Self::TooManyOpenFiles,
            ConnectErrorKind::Tls => Self::Tls,
            ConnectErrorKind::Blocked => Self::Blocked,
            _ => Self::Connect,
        }
    }
}

/// With TLS 1.3 a server refuses a client's certificate after the client's side of the handshake is
/// over, so that the first exchange meets the alert.
#[cfg(feature = "tls")]
fn certificate_refused(error: &KeepAliveError) -> bool {
    find::<rustls::Error>(error).is_some_and(crate::tls::is_about_our_certificate)
}

#[cfg(not(feature = "tls"))]
fn certificate_refused(_: &KeepAliveError) -> bool {
    false
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
