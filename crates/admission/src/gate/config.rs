//! What a gate allows.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::Discipline;

/// The limits of a [`Gate`](crate::Gate).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GateConfig {
    /// The number that may be in flight.
    pub limit: NonZeroUsize,
    /// The number that may wait; 0 means never to queue. Default: 1,024, Envoy's
    /// `max_pending_requests`.
    pub max_waiting: usize,
    /// The time that each may wait. Default: 3 s, linkerd's failfast timeout.
    pub acquire_timeout: Duration,
    /// The order of those that wait. Default: adaptive.
    pub discipline: Discipline,
}

impl GateConfig {
    /// A limit, with the defaults for the rest.
    pub const fn new(limit: NonZeroUsize) -> Self {
        Self {
            limit,
            max_waiting: crate::DEFAULT_MAX_WAITING,
            acquire_timeout: crate::DEFAULT_ACQUIRE_TIMEOUT,
            discipline: Discipline::Adaptive,
        }
    }

    /// Sets [`GateConfig::max_waiting`].
    #[must_use]
    pub const fn max_waiting(mut self, max_waiting: usize) -> Self {
        self.max_waiting = max_waiting;
        self
    }

    /// Sets [`GateConfig::acquire_timeout`].
    #[must_use]
    pub const fn acquire_timeout(mut self, acquire_timeout: Duration) -> Self {
        self.acquire_timeout = acquire_timeout;
        self
    }

    /// Sets [`GateConfig::discipline`].
    #[must_use]
    pub const fn discipline(mut self, discipline: Discipline) -> Self {
        self.discipline = discipline;
        self
    }
}
