//! The handle on a service's limits.

use std::fmt;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{GateStats, RESERVED_FOR};
use tollgate_core::{Origin, Timer};

use crate::error::{StillInFlight, ZeroLimit};
use crate::limiter::Limiter;

/// A time by which an [`Instant`] can be moved without fear of overflow; no wait is as long.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Gauges and counters of a [`PoolLimit`](crate::PoolLimit), and a way to change and end it.
///
/// `Q` is the key that each limit has: the origin, what your function makes of a request, or nothing. It
/// keeps the limits alive, not the service.
pub struct PoolLimitHandle<Q = Origin> {
    limiter: Arc<Limiter<Q>>,
}

impl<Q> fmt::Debug for PoolLimitHandle<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolLimitHandle")
            .field("total", &self.total())
            .finish()
    }
}

impl<Q> Clone for PoolLimitHandle<Q> {
    fn clone(&self) -> Self {
        Self {
            limiter: Arc::clone(&self.limiter),
        }
    }
}

impl<Q> PoolLimitHandle<Q> {
    pub(crate) const fn new(limiter: Arc<Limiter<Q>>) -> Self {
        Self { limiter }
    }

    /// The sums over all keys, those forgotten included; `limit` is that of one key.
    ///
    /// Keys are read one after the other: between them things go on.
    pub fn total(&self) -> GateStats {
        self.limiter.total()
    }

    /// The requests without a key: all of them if the limit is one for the whole service, else
    /// those that do not say where they go.
    pub fn unkeyed(&self) -> GateStats {
        self.limiter.shared().stats()
    }

    /// Changes the limit of every key. A higher one lets waiters in at once; a lower one takes
    /// effect as places are given back.
    ///
    /// # Errors
    ///
    /// [`ZeroLimit`] if `limit` is 0; nothing is changed then. To let nothing through, use
    /// [`close`](Self::close).
    pub fn reconfigure(&self, limit: usize) -> Result<(), ZeroLimit> {
        self.limiter.reconfigure(ZeroLimit::check(limit)?);
        Ok(())
    }

    /// Refuses all requests that wait and all that come from now on, with
    /// [`PoolLimitErrorKind::Closed`](crate::PoolLimitErrorKind::Closed). What is in flight goes on.
    pub fn close(&self) {
        self.limiter.close();
    }

    /// Closes, and waits until nothing is in flight, at most for `within`. A place that is reserved for a
    /// caller that does not poll is taken back after 250 ms.
    ///
    /// Cancel safe: dropped, it has closed (once polled) and waits no longer.
    ///
    /// # Errors
    ///
    /// [`StillInFlight`] when the time is over. What is in flight then goes on.
    pub async fn drain(&self, within: Duration) -> Result<(), StillInFlight> {
        self.close();
        let started = Instant::now();
        let empty = async {
            loop {
                // Before the look: a release between the look and the wait would go unnoticed.
                let freed = self.limiter.common().watch();
                if self.total().in_flight == 0 {
                    return;
                }
                freed.await;
            }
        };
        let mut empty = pin!(empty);
        let end = started.checked_add(within).unwrap_or(started + FOREVER);
        let lapse = started + RESERVED_FOR;
        let mut in_time = Timer::until(end.min(lapse), &mut empty).await;
        if in_time.is_none() && lapse < end {
            // None is reserved behind the close: what is not collected by now has lapsed, and its
            // callers may never poll.
            self.limiter.lapse();
            in_time = Timer::until(end, empty).await;
        }
        // The last one may have ended in the moment in which the time did.
        match self.total().in_flight {
            in_flight @ 1.. if in_time.is_none() => {
                Err(StillInFlight::new(in_flight, started.elapsed()))
            }
            _ => Ok(()),
        }
    }
}

impl PoolLimitHandle {
    /// The gauges and counters of one origin; `None` if there was no request to it, or it has been
    /// forgotten since.
    pub fn origin(&self, origin: &Origin) -> Option<GateStats> {
        self.key(origin)
    }

    /// Every origin that is remembered, in no order.
    pub fn origins(&self) -> Vec<(Origin, GateStats)> {
        self.keys()
    }
}

impl<Q: Eq + Hash> PoolLimitHandle<Q> {
    /// The gauges and counters of one key; `None` if there was no request with it, or it has been
    /// forgotten since.
    pub fn key(&self, key: &Q) -> Option<GateStats> {
        let slot = self.limiter.find(key, |known| known == key)?;
        Some(slot.stats())
    }

    /// Every key that is remembered, in no order.
    pub fn keys(&self) -> Vec<(Q, GateStats)>
    where
        Q: Clone,
    {
        self.limiter.keys()
    }
}
