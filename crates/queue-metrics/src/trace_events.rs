//! The observer that turns events into those of `tracing`.

use std::error::Error;
use std::fmt;

use tokio::time::Instant;
use tollgate_core::{CloseReason, Event, Observer, RefuseReason};

use crate::warn_limit::WarnLimit;

/// Turns events into [`tracing`] events.
///
/// | target | what | level |
/// |---|---|---|
/// | `tollgate::queue` | a request waits, has waited | debug |
/// | | gets a lease at once, gives it back | trace |
/// | | is refused | warn; debug if its caller went away |
/// | `tollgate::connect` | a dial starts, succeeds | debug |
/// | | fails | warn |
/// | `tollgate::pool` | a connection is closed, a request is retried | debug |
/// | | other connections drain, the limit or what streams there are is another one | debug |
/// | | a connection is closed for unsolicited bytes | warn |
/// | `tollgate::dns` | the resolver was asked | debug |
/// | | and failed | warn |
/// | | the cache was asked | trace |
///
/// Warnings come at most once a second for each origin (or name) and kind, the others at debug, with
/// the number held back in `suppressed`: an overload must not become a flood of logs. They carry origins, names,
/// addresses and errors, never a path, a query, a header or user information.
///
/// Pair it with [`PoolMetrics`](crate::PoolMetrics) in a tuple, which is an observer too.
#[derive(Debug, Default)]
pub struct TraceEvents {
    warnings: WarnLimit,
}

impl TraceEvents {
    /// Traces everything; a subscriber's filter chooses.
    pub fn new() -> Self {
        Self::default()
    }
}

/// An event at `warn` if it is its turn, else at `debug`.
macro_rules! limited_warn {
    ($limit:expr, $what:expr, target: $target:literal, $($rest:tt)*) => {
        match $limit.turn(Instant::now(), ($target, $what)) {
            Some(suppressed) => tracing::warn!(target: $target, suppressed, $($rest)*),
            None => tracing::debug!(target: $target, $($rest)*),
        }
    };
}

impl Observer for TraceEvents {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::Queued { .. } | Event::Granted { .. } | Event::Released { .. } => {
                trace_lease(event);
            }
            Event::Refused { .. } => self.trace_refusal(event),
            Event::ConnectStarted { .. } | Event::Opened { .. } | Event::ConnectFailed { .. } => {
                self.trace_connect(event);
            }
            Event::Retried { .. }
            | Event::Closed { .. }
            | Event::DrainingChanged { .. }
            | Event::LimitChanged { .. }
            | Event::StreamsChanged { .. } => self.trace_pool(event),
            Event::DnsLookup { .. } | Event::DnsCache { .. } => self.trace_dns(event),
            _ => {}
        }
    }
}

fn trace_lease(event: &Event<'_>) {
    match *event {
        Event::Queued { origin, ahead } => {
            tracing::debug!(target: "tollgate::queue", %origin, ahead, "request waits");
        }
        Event::Granted {
            origin,
            waited,
            reused,
            ..
        } if waited.is_zero() => {
            tracing::trace!(target: "tollgate::queue", %origin, reused, "lease granted");
        }
        Event::Granted {
            origin,
            waited,
            dial,
            reused,
        } => {
            tracing::debug!(
                target: "tollgate::queue", %origin, ?waited, ?dial, reused, "wait is over",
            );
        }
        Event::Released { origin, held, end } => {
            let end = end.label();
            tracing::trace!(target: "tollgate::queue", %origin, ?held, end, "lease released");
        }
        _ => {}
    }
}

impl TraceEvents {
    fn trace_refusal(&self, event: &Event<'_>) {
        let Event::Refused {
            origin,
            reason,
            waited,
            ..
        } = *event
        else {
            return;
        };
        let word = reason.label();
        // No fault of the origin's: it neither warns nor takes a turn from what does.
        if reason == RefuseReason::Cancelled {
            tracing::debug!(
                target: "tollgate::queue", %origin, reason = word, ?waited, "caller went away",
            );
        } else {
            limited_warn!(
                self.warnings, (origin, word), target: "tollgate::queue",
                %origin, reason = word, ?waited, "request refused"
            );
        }
    }

    fn trace_connect(&self, event: &Event<'_>) {
        match *event {
            Event::ConnectStarted { origin } => {
                tracing::debug!(target: "tollgate::connect", %origin, "dial starts");
            }
            Event::Opened {
                origin,
                connection,
                dial,
                elapsed,
            } => tracing::debug!(
                target: "tollgate::connect",
                %origin, connection, remote = dial.remote.map(tracing::field::display), ?elapsed,
                dns = dial.dns.map(tracing::field::debug),
                tcp = dial.connect.map(tracing::field::debug),
                tls = dial.tls.map(tracing::field::debug),
                "connection opened",
            ),
            Event::ConnectFailed {
                origin,
                kind,
                error,
                elapsed,
            } => limited_warn!(
                self.warnings, (origin, kind.label()), target: "tollgate::connect",
                %origin, kind = kind.label(), error = %Chain(error), ?elapsed, "dial failed"
            ),
            _ => {}
        }
    }

    fn trace_pool(&self, event: &Event<'_>) {
        match *event {
            Event::Retried { origin, attempt } => {
                tracing::debug!(target: "tollgate::pool", %origin, attempt, "request retried");
            }
            Event::DrainingChanged { origin, from, to } => {
                tracing::debug!(target: "tollgate::pool", %origin, from, to, "connections drain");
            }
            Event::LimitChanged { origin, from, to } => {
                tracing::debug!(target: "tollgate::pool", %origin, from, to, "limit changed");
            }
            Event::StreamsChanged { origin, from, to } => {
                tracing::debug!(target: "tollgate::pool", %origin, from, to, "streams changed");
            }
            Event::Closed {
                origin,
                connection,
                reason,
                age,
                served,
            } => {
                let word = reason.label();
                // Bytes that no request asked for are how a desync shows (request smuggling); the
                // other reasons are everyday.
                if reason == CloseReason::Unsolicited {
                    limited_warn!(
                        self.warnings, (origin, word), target: "tollgate::pool",
                        %origin, connection, reason = word, ?age, served, "connection closed"
                    );
                } else {
                    tracing::debug!(
                        target: "tollgate::pool",
                        %origin, connection, reason = word, ?age, served, "connection closed",
                    );
                }
            }
            _ => {}
        }
    }

    fn trace_dns(&self, event: &Event<'_>) {
        match *event {
            Event::DnsLookup {
                name,
                elapsed,
                error: None,
            } => {
                tracing::debug!(target: "tollgate::dns", name, ?elapsed, "resolver answered");
            }
            Event::DnsLookup {
                name,
                elapsed,
                error: Some(error),
            } => limited_warn!(
                self.warnings, (name, error), target: "tollgate::dns", name, ?elapsed, error, "resolver failed"
            ),
            Event::DnsCache { name, result } => {
                tracing::trace!(target: "tollgate::dns", name, result, "cache asked");
            }
            _ => {}
        }
    }
}

/// An error with everything below it.
struct Chain<'a>(&'a (dyn Error + Send + Sync + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut last = self.0.to_string();
        for cause in tollgate_core::error::chain(self.0).skip(1) {
            let text = cause.to_string();
            // Some errors print their source as well; an io::Error prints what it wraps.
            if !last.contains(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
        }
        Ok(())
    }
}
