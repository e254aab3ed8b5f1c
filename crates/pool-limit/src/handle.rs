//! The handle on a service's limits.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tollgate_admission::GateStats;
use tollgate_core::Origin;

use crate::error::{StillInFlight, ZeroLimit};
use crate::keys::{PerKey, PerOrigin, Scheme};
use crate::limiter::Limiter;

/// What an [`Instant`] can be moved by without fear of overflow; nobody waits that long.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Gauges and counters of a [`PoolLimit`](crate::PoolLimit), and a way to change and end it.
///
/// It keeps the limits alive, not the service.
#[derive(Debug)]
pub struct PoolLimitHandle<K: Scheme = PerOrigin> {
    limiter: Arc<Limiter<K>>,
}

impl<K: Scheme> Clone for PoolLimitHandle<K> {
    fn clone(&self) -> Self {
        Self {
            limiter: Arc::clone(&self.limiter),
        }
    }
}

impl<K: Scheme> PoolLimitHandle<K> {
    pub(crate) const fn new(limiter: Arc<Limiter<K>>) -> Self {
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

    /// Refuses all who wait and all who come from now on, with [`Closed`](crate::Closed). What is in
    /// flight goes on.
    pub fn close(&self) {
        self.limiter.close();
    }

    /// Closes, and waits until nothing is in flight, at most for `within`.
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
                let freed = self.limiter.common().watch();
                if self.total().in_flight == 0 {
                    return;
                }
                freed.await;
            }
        };
        let end = started.checked_add(within).unwrap_or(started + FOREVER);
        let in_time = timeout_at(end, empty).await;
        // The last one may have ended in the moment in which the time did.
        match self.total().in_flight {
            in_flight @ 1.. if in_time.is_err() => {
                Err(StillInFlight::new(in_flight, started.elapsed()))
            }
            _ => Ok(()),
        }
    }
}

impl PoolLimitHandle<PerOrigin> {
    /// The gauges and counters of one origin; `None` if there was no request to it, or it has been
    /// forgotten since.
    pub fn origin(&self, origin: &Origin) -> Option<GateStats> {
        Some(self.limiter.find(origin)?.stats())
    }

    /// Every origin that is remembered, in no order.
    pub fn origins(&self) -> Vec<(Origin, GateStats)> {
        self.limiter.keys()
    }
}

impl<Q: Eq + Hash, F> PoolLimitHandle<PerKey<Q, F>> {
    /// The gauges and counters of one key; `None` if there was no request with it, or it has been
    /// forgotten since.
    pub fn key(&self, key: &Q) -> Option<GateStats> {
        Some(self.limiter.find(key)?.stats())
    }

    /// Every key that is remembered, in no order.
    pub fn keys(&self) -> Vec<(Q, GateStats)>
    where
        Q: Clone,
    {
        self.limiter.keys()
    }
}
