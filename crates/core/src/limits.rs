//! The limits that a request carries, as one extension that every layer reads.

use std::time::Duration;

use tokio::time::Instant;

/// The limits of one request, as an extension of it.
///
/// A layer that queues does not start what these leave no time for, and Tollgate's client keeps
/// them. What is not set here is what the client or the origin has set.
///
/// ```
/// use std::time::Duration;
/// use tollgate_core::Limits;
///
/// let request = http::Request::get("http://billing.internal/v1/invoices")
///     .extension(Limits::new().timeout(Duration::from_millis(800)));
/// # drop(request);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The time for all of it, from the call to the end of the response body.
    pub timeout: Option<Duration>,
    /// The same as an instant, for a limit that began before the call. The earlier one counts.
    pub ends_at: Option<Instant>,
    /// The time from the call to the head of the response.
    pub response_timeout: Option<Duration>,
    /// The time between two frames of the response body.
    pub body_idle_timeout: Option<Duration>,
    /// The time for which the request may wait for capacity.
    pub acquire_timeout: Option<Duration>,
}

/// Defines a consuming setter for each field.
macro_rules! setters {
    ($($field:ident: $type:ty,)*) => {
        $(
            #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
            #[must_use]
            pub const fn $field(mut self, $field: $type) -> Self {
                self.$field = Some($field);
                self
            }
        )*
    };
}

impl Limits {
    /// No limits.
    pub const fn new() -> Self {
        Self {
            timeout: None,
            ends_at: None,
            response_timeout: None,
            body_idle_timeout: None,
            acquire_timeout: None,
        }
    }

    setters! {
        timeout: Duration,
        ends_at: Instant,
        response_timeout: Duration,
        body_idle_timeout: Duration,
        acquire_timeout: Duration,
    }

    /// These limits, and those of `other` for what they leave open.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            timeout: self.timeout.or(other.timeout),
            ends_at: self.ends_at.or(other.ends_at),
            response_timeout: self.response_timeout.or(other.response_timeout),
            body_idle_timeout: self.body_idle_timeout.or(other.body_idle_timeout),
            acquire_timeout: self.acquire_timeout.or(other.acquire_timeout),
        }
    }

    /// Returns the time at which a call that begins at `start` must have got its response, as far
    /// as is known: what a queue has to leave time for. A limit too long for the clock is none.
    pub fn answer_by(&self, start: Instant) -> Option<Instant> {
        let limits = [self.timeout, self.response_timeout];
        let within = limits.into_iter().flatten().min();
        let within = within.and_then(|within| start.checked_add(within));
        // The nearest of all: a limit that began before the call may end before one that begins
        // with it.
        within.into_iter().chain(self.ends_at).min()
    }
}

/// The deadline for getting a connection, as an extension of a request: past it, the request gets no
/// connection and none is dialled for it, however long the acquire timeout is.
///
/// It bounds the wait, not the exchange: [`Limits::timeout`] does that.
///
/// ```
/// use std::time::Duration;
/// use tollgate_core::Deadline;
///
/// let request = http::Request::get("http://billing.internal/v1/invoices")
///     .extension(Deadline::after(Duration::from_millis(250)));
/// # drop(request);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline at `instant`.
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// A deadline `limit` from now; one too long for the clock is a hundred years away.
    pub fn after(limit: Duration) -> Self {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
        let now = Instant::now();
        Self(now.checked_add(limit).unwrap_or(now + CENTURY))
    }

    /// Returns the time at which it is.
    pub const fn instant(self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_beyond_the_clock_never_comes() {
        let deadline = Deadline::after(Duration::MAX);
        assert!(deadline.instant() > Instant::now() + Duration::from_secs(86_400));
    }

    #[test]
    fn the_earliest_of_all_limits_is_kept() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(Limits::new().answer_by(start), None);
        let limits = Limits::new()
            .timeout(second * 3)
            .ends_at(start + second * 2);
        assert_eq!(limits.answer_by(start), Some(start + second * 2));
        let limits = limits.response_timeout(second);
        assert_eq!(limits.answer_by(start), Some(start + second));
        assert_eq!(Limits::new().timeout(Duration::MAX).answer_by(start), None);
    }

    #[test]
    fn a_requests_own_limits_come_before_the_defaults() {
        let second = Duration::from_secs(1);
        let own = Limits::new().timeout(second);
        let defaults = Limits::new().timeout(second * 9).acquire_timeout(second);
        let merged = Limits::new().timeout(second).acquire_timeout(second);
        assert_eq!(own.or(&defaults), merged);
    }
}
