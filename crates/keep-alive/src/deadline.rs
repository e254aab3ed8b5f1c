//! A request's own deadline.

use std::time::Duration;

use tokio::time::Instant;

/// A request's own deadline, as an extension of the request: past it, the request gets no connection
/// and none is dialled for it, however long the acquire timeout is.
///
/// It bounds the wait for a connection, not the exchange: a timeout around the call does that.
///
/// ```
/// # use std::time::Duration;
/// use tollgate_keep_alive::Deadline;
///
/// # tokio_test::block_on(async {
/// let request = http::Request::get("http://billing.internal/v1/invoices")
///     .extension(Deadline::after(Duration::from_millis(250)));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline at `instant`.
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// A deadline `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// When it is.
    pub const fn instant(self) -> Instant {
        self.0
    }
}
