//! The span of one attempt.

use std::fmt;
use std::time::Duration;

use http::{Method, Response};
use tollgate_core::{Origin, Timings};
use tracing::field::{Empty, debug, display};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};

use crate::call::body::KeepAliveBody;
use crate::error::KeepAliveError;
use crate::pool::lease::Lease;

/// Returns true if spans of attempts have a subscriber: one comparison without one for
/// anything.
#[inline]
pub(crate) fn is_heard() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG && is_wanted()
}

#[cold]
fn is_wanted() -> bool {
    tracing::span_enabled!(target: "tollgate::request", Level::DEBUG)
}

/// The span of the attempt under way, from the demand for a connection to the response's head, a
/// child of the caller's. It is never entered, so no task takes it along.
#[derive(Default)]
pub(crate) struct AttemptSpan {
    span: Option<Span>,
    /// The time that this attempt has waited for its connection; the timings have the request's
    /// waits.
    waited: Duration,
}

impl AttemptSpan {
    pub(crate) fn start(origin: Option<&Origin>, method: Option<&Method>, attempt: u32) -> Self {
        if is_heard() {
            Self::open(origin, method, attempt)
        } else {
            Self::default()
        }
    }

    // No path and no query: they may hold secrets.
    #[cold]
    fn open(origin: Option<&Origin>, method: Option<&Method>, attempt: u32) -> Self {
        let span = tracing::debug_span!(
            target: "tollgate::request",
            "attempt",
            origin = origin.map(display),
            method = method.map(display),
            attempt,
            queued = Empty,
            connection = Empty,
            reused = Empty,
            remote = Empty,
            dns = Empty,
            connect = Empty,
            tls = Empty,
            first_byte = Empty,
            status = Empty,
            outcome = Empty,
            error = Empty,
        );
        Self {
            span: Some(span),
            waited: Duration::ZERO,
        }
    }

    /// It has waited this long, or longer.
    pub(crate) fn waited(&mut self, waited: Duration) {
        self.waited += waited;
    }

    /// The head is there.
    pub(crate) fn answered(&mut self, response: &Response<KeepAliveBody>) {
        // Taken out, here and below: one that is left to the drop counts as cancelled.
        if let Some(span) = self.span.take() {
            record(&span, self.waited, &response.body().timings());
            span.record("status", response.status().as_u16());
            span.record("outcome", "answered");
        }
    }

    /// It came to nothing on a connection.
    pub(crate) fn failed(&mut self, lease: &Lease, error: &dyn fmt::Display) {
        if let Some(span) = self.span.take() {
            record(&span, self.waited, &lease.timings());
            span.record("outcome", "failed");
            span.record("error", display(error));
        }
    }

    /// It got no connection; this error is about this attempt alone.
    pub(crate) fn refused(&mut self, error: &KeepAliveError) {
        if let Some(span) = self.span.take() {
            let timings = error.timings();
            record(&span, self.waited + timings.queued, &timings);
            span.record("outcome", "refused");
            span.record("error", display(error));
        }
    }
}

fn record(span: &Span, waited: Duration, timings: &Timings) {
    span.record("queued", debug(waited));
    if timings.connection > 0 {
        span.record("connection", timings.connection);
        span.record("reused", timings.reused);
    }
    if let Some(remote) = timings.remote {
        span.record("remote", display(remote));
    }
    for (field, time) in [
        ("dns", timings.dns),
        ("connect", timings.connect),
        ("tls", timings.tls),
        ("first_byte", timings.first_byte),
    ] {
        if let Some(time) = time {
            span.record(field, debug(time));
        }
    }
}

/// The caller went away.
impl Drop for AttemptSpan {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            span.record("outcome", "cancelled");
        }
    }
}
