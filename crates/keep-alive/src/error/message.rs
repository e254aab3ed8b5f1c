//! The texts of errors: what failed, where, after how long, and what to change.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Inner, KeepAliveError, KeepAliveErrorKind, OwnTime};
use tollgate_admission::Late;
use tollgate_core::{Rounded, Timings};

use crate::connection::http2;
use crate::connection::io::Greeting;

/// A connection that was opened before its first request is worth a word only then.
const A_WHILE: Duration = Duration::from_millis(100);

impl fmt::Display for KeepAliveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.last_attempt(f)?;
        if self.0.heard && self.0.kind.nothing_sent() {
            f.write_str("; an earlier attempt was sent, and the server may have acted on it")?;
        }
        Ok(())
    }
}

impl KeepAliveError {
    fn last_attempt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { timings, took, .. } = &*self.0;
        let (waited, took) = (Rounded(timings.queued), Rounded(took.unwrap_or_default()));
        let to = self.to();
        match self.kind() {
            KeepAliveErrorKind::InvalidRequest if self.source().is_some() => {
                write!(f, "not a request that can be sent to {to}; its cause says what to change")
            }
            KeepAliveErrorKind::InvalidRequest => f.write_str(
                "not a request this client can send: an absolute http or https URI with a host is needed",
            ),
            KeepAliveErrorKind::QueueFull | KeepAliveErrorKind::QueueTimeout => self.queue(f),
            KeepAliveErrorKind::Connect => {
                write!(f, "could not open a connection to {to}, waited {waited}")
            }
            KeepAliveErrorKind::BackingOff => write!(
                f,
                "not dialling {to} for the moment: the last attempts failed, the next is at most 1 s away"
            ),
            KeepAliveErrorKind::Closed => write!(
                f,
                "the connection pool takes no request for {to} after drain or close; send requests before that, or \
                 through another client"
            ),
            KeepAliveErrorKind::NoRuntime => write!(
                f,
                "request for {to} outside a tokio runtime with timers, where the pool spawns its connections; make \
                 it inside one, with enable_all"
            ),
            KeepAliveErrorKind::ClosedBeforeSent => self.unsent(f),
            KeepAliveErrorKind::ClosedAfterSent => {
                self.connection(f)?;
                write!(
                    f,
                    ", closed {took} after the request was handed to it and before a response; the server may have \
                     acted on it: send it again only if that is harmless"
                )
            }
            KeepAliveErrorKind::Exchange => {
                write!(f, "the exchange with {to} failed after {took}; its cause says what to change")
            }
        }
    }

    /// Says which connection it was: its number in the pool, its two ends, and what came before.
    fn connection(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timings {
            connection,
            reused,
            idle,
            local,
            remote,
            ..
        } = self.0.timings;
        write!(f, "connection {connection} to {}", self.to())?;
        match (local, remote) {
            // The origin may be that address itself.
            (Some(local), Some(remote)) if self.is_named_by(remote) => {
                write!(f, " (from {local})")?;
            }
            (Some(local), Some(remote)) => write!(f, " ({local} to {remote})")?,
            (None, Some(remote)) if !self.is_named_by(remote) => write!(f, " ({remote})")?,
            _ => {}
        }
        f.write_str(if reused {
            ", which had served before"
        } else {
            ", which was new"
        })?;
        match idle.map(Rounded) {
            Some(idle) if reused || idle.duration() >= A_WHILE => {
                write!(f, " and had been idle for {idle}")
            }
            _ => Ok(()),
        }
    }

    fn is_named_by(&self, remote: SocketAddr) -> bool {
        let named = self
            .0
            .origin
            .as_ref()
            .and_then(|origin| origin.host().trim_matches(['[', ']']).parse().ok());
        named == Some(remote.ip())
    }

    fn to(&self) -> &dyn fmt::Display {
        match &self.0.origin {
            Some(origin) => origin,
            None => &"the request's origin",
        }
    }

    fn queue(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { limit, ahead, .. } = *self.0;
        let (to, waited) = (self.to(), Rounded(self.0.timings.queued));
        match self.kind() {
            KeepAliveErrorKind::QueueFull => write!(
                f,
                "queue for {to} is full: {limit} connections busy and {ahead} requests waiting; raise the \
                 connection cap or max_waiting, or send less"
            ),
            _ => match self.0.late {
                Some(OwnTime::Over { connecting }) => write!(
                    f,
                    "no connection to {to} within {waited}, when the request's own deadline passed{}: {limit} \
                     connections at most and {ahead} requests ahead; give the request more time, or look why it is \
                     slow",
                    if connecting {
                        " while one was being opened"
                    } else {
                        ""
                    },
                ),
                Some(OwnTime::Short(Late { left, typical, .. })) => write!(
                    f,
                    "would be late: {} left for {to} after a wait of {waited}, where an exchange takes {}, and {ahead} \
                     requests were ahead; it was not sent: raise the connection cap or timeout, or look why it is slow",
                    Rounded(left),
                    Rounded(typical),
                ),
                None => write!(
                    f,
                    "no connection to {to} became free within {waited}: {limit} connections at most and {ahead} \
                     requests ahead; raise the connection cap or acquire_timeout, or look why it is slow"
                ),
            },
        }
    }

    fn unsent(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (to, waited) = (self.to(), Rounded(self.0.timings.queued));
        let tried = self.0.timings.attempts;
        let not_sent = if self.0.heard {
            ""
        } else {
            "it was not sent: "
        };
        if self.source().is_some_and(<dyn Error>::is::<Greeting>) {
            write!(
                f,
                "{to} does not speak HTTP/1, {tried} tried, {waited} waited; its cause says what to change"
            )
        } else if self.source().is_some_and(http2::is_unprocessed) {
            write!(
                f,
                "{to} refused the request or was about to close, and did not process it: {tried} tried, {waited} \
                 waited; look whether it is overloaded or restarts, or raise the retry policy's unsent"
            )
        } else {
            write!(
                f,
                "connections to {to} closed before the request was written, {tried} tried, {waited} waited; \
                 {not_sent}lower idle_timeout below the server's, or look why it closes"
            )
        }
    }
}
