//! A pool on a bench: short names for what the tests do over and over.

use std::num::NonZeroUsize;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::{
    Admission, Demand, Grant, Machine, Pool, PoolConfig, Refusal, ResourceId, Returned, Ticket,
};
use tollgate_core::CloseReason;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MILLI: Duration = Duration::from_millis(1);

pub(crate) type Answer = Poll<Result<Grant, Refusal<&'static str>>>;

pub(crate) struct Bench {
    pub(crate) pool: Pool<&'static str>,
    pub(crate) now: Instant,
}

pub(crate) fn n(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("at least one")
}

pub(crate) fn config(max: usize) -> PoolConfig {
    PoolConfig::new()
        .max_connections_per_origin(n(max))
        .lifetime_jitter_percent(0)
}

impl Bench {
    pub(crate) fn new(config: PoolConfig) -> Self {
        Self {
            pool: Pool::new(config),
            now: Instant::now(),
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
    }

    pub(crate) fn demand(&mut self, demand: Demand) -> Admission<Grant, &'static str> {
        self.pool.demand(self.now, demand)
    }

    /// Asks, and must be granted.
    pub(crate) fn take(&mut self) -> Grant {
        match self.demand(Demand::new()) {
            Admission::Granted(grant) => grant,
            other => panic!("not granted: {other:?}"),
        }
    }

    /// Asks, and must wait.
    pub(crate) fn queue(&mut self) -> Ticket {
        match self.demand(Demand::new()) {
            Admission::Queued(ticket) => ticket,
            other => panic!("not queued: {other:?}"),
        }
    }

    /// Asks, and must be refused.
    pub(crate) fn refused(&mut self) -> Refusal<&'static str> {
        match self.demand(Demand::new()) {
            Admission::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn poll(&mut self, ticket: Ticket) -> Answer {
        self.pool.poll(ticket, self.now, Waker::noop())
    }

    pub(crate) fn granted(&mut self, ticket: Ticket) -> Grant {
        match self.poll(ticket) {
            Poll::Ready(Ok(grant)) => grant,
            other => panic!("not granted: {other:?}"),
        }
    }

    pub(crate) fn fails(&mut self, ticket: Ticket) -> Refusal<&'static str> {
        match self.poll(ticket) {
            Poll::Ready(Err(refusal)) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn start_all(&mut self) -> usize {
        let mut started = 0;
        while self.pool.start_open(self.now) {
            started += 1;
        }
        started
    }

    pub(crate) fn opened(&mut self) -> ResourceId {
        self.pool.opened(self.now, NonZeroUsize::MIN)
    }

    /// One connection, idle.
    pub(crate) fn idle(&mut self) -> ResourceId {
        self.pool.warm(self.pool.places() + 1);
        assert_eq!(self.start_all(), 1);
        self.opened()
    }

    pub(crate) fn give_back(&mut self, resource: ResourceId) {
        self.pool
            .lease_returned(resource, self.now, Returned::reusable());
    }

    /// What is to be closed.
    pub(crate) fn closes(&mut self) -> Vec<(ResourceId, CloseReason)> {
        let mut effects = self.pool.take_effects();
        std::iter::from_fn(|| effects.next_close()).collect()
    }

    pub(crate) fn gone(&mut self, resource: ResourceId) {
        let gone = self
            .pool
            .resource_gone(resource, self.now, CloseReason::PeerEof);
        assert!(gone.is_some());
    }
}
