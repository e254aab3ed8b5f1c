//! What an error says: what struck, where, after how long, and what to change.

use std::error::Error;
use std::fmt;

use super::{Inner, KeepAliveError, KeepAliveErrorKind};
use crate::http2;

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
        let (waited, took) = (timings.queued, took.unwrap_or_default());
        let to = self.to();
        match self.kind() {
            KeepAliveErrorKind::InvalidRequest => f.write_str(
                "not a request this client can send: an absolute http or https URI with a host is needed",
            ),
            KeepAliveErrorKind::QueueFull | KeepAliveErrorKind::QueueTimedOut => self.queue(f),
            KeepAliveErrorKind::Connect => {
                write!(f, "could not open a connection to {to}, waited {waited:?}")
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
                "request for {to} outside a tokio runtime, where the pool spawns its connections; make it \
                 inside one"
            ),
            KeepAliveErrorKind::ClosedBeforeSent => self.unsent(f),
            KeepAliveErrorKind::ClosedAfterSent => write!(
                f,
                "connection to {to} closed {took:?} after the request was handed to it and before a response; \
                 the server may have acted on it: send it again only if that is harmless"
            ),
            KeepAliveErrorKind::Exchange => {
                write!(f, "the exchange with {to} failed after {took:?}; its cause says what to change")
            }
        }
    }

    fn to(&self) -> &dyn fmt::Display {
        match &self.0.origin {
            Some(origin) => origin,
            None => &"the request's origin",
        }
    }

    fn queue(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { limit, ahead, .. } = *self.0;
        let (to, waited) = (self.to(), self.0.timings.queued);
        match self.kind() {
            KeepAliveErrorKind::QueueFull => write!(
                f,
                "queue for {to} is full: {limit} connections busy and {ahead} requests waiting; raise the \
                 connection cap or max_waiting, or send less"
            ),
            _ if self.0.overdue => write!(
                f,
                "no connection to {to} within {waited:?}, when the request's own deadline passed: {limit} connections \
                 at most and {ahead} requests ahead; give the request more time, or look why {to} is slow"
            ),
            _ => write!(
                f,
                "no connection to {to} became free within {waited:?}: {limit} connections at most and {ahead} \
                 requests ahead; raise the connection cap or acquire_timeout, or look why {to} is slow"
            ),
        }
    }

    fn unsent(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (to, waited) = (self.to(), self.0.timings.queued);
        let tried = self.0.timings.attempts;
        let not_sent = if self.0.heard {
            ""
        } else {
            "it was not sent: "
        };
        if self.source().is_some_and(http2::is_unprocessed) {
            write!(
                f,
                "{to} refused the request or was about to close, and did not process it: {tried} tried, {waited:?} \
                 waited; look whether it is overloaded or restarts, or raise the retry policy's unsent"
            )
        } else {
            write!(
                f,
                "connections to {to} closed before the request was written, {tried} tried, {waited:?} waited; \
                 {not_sent}lower idle_timeout below the server's, or look why it closes"
            )
        }
    }
}
