//! The two machines with a queue, as the simulation needs them.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::CloseReason;

use super::Load;
use crate::tests::bench::n;
use crate::{
    Admission, Demand, Gate, GateConfig, Machine, Pool, PoolConfig, ResourceId, Returned, Ticket,
};

/// How an exchange ended.
#[derive(Clone, Copy)]
pub(in crate::tests) enum End {
    /// With its answer.
    Good,
    /// With the answer, which no caller took.
    Drained,
    /// With its connection: the caller left.
    Closed,
}

pub(in crate::tests) enum Asked<L> {
    Granted(L),
    Queued(Ticket),
    Refused,
}

pub(in crate::tests) trait Line {
    type Lease: Copy;

    fn new(load: &Load) -> Self;
    fn demand(&mut self, now: Instant, ends_at: Option<Instant>) -> Asked<Self::Lease>;
    fn poll(&mut self, now: Instant, ticket: Ticket, waker: &Waker) -> Poll<Option<Self::Lease>>;
    /// Does what the machine asks for: closes, opens, wakes.
    fn run(&mut self, now: Instant);
    fn cancel(&mut self, now: Instant, ticket: Ticket);
    /// The caller of an exchange leaves; for how long its answer is waited for all the same.
    fn leave(&mut self, now: Instant, waited: Duration, held: Duration) -> Option<Duration>;
    fn end(&mut self, now: Instant, lease: Self::Lease, held: Duration, end: End);
    fn tick(&mut self, now: Instant);
    /// Connections opened, and turns of the order.
    fn opened(&self) -> (usize, u64);
}

pub(in crate::tests) struct PoolLine {
    pool: Pool<&'static str>,
    drains: bool,
}

impl PoolLine {
    /// Dials take no time here.
    fn open(&mut self, now: Instant) {
        while self.pool.start_open(now) {
            self.pool.opened(now, NonZeroUsize::MIN);
        }
    }
}

impl Line for PoolLine {
    type Lease = ResourceId;

    fn new(load: &Load) -> Self {
        let config = PoolConfig::new()
            .max_connections_per_origin(n(load.cap))
            .max_connecting_per_origin(n(load.cap))
            .discipline(load.discipline);
        Self {
            pool: Pool::new(config),
            drains: load.drains,
        }
    }

    fn demand(&mut self, now: Instant, ends_at: Option<Instant>) -> Asked<ResourceId> {
        match self.pool.demand(now, Demand::new().ends_at(ends_at)) {
            Admission::Granted(grant) => Asked::Granted(grant.resource),
            Admission::Refused(_) => Asked::Refused,
            Admission::Queued(ticket) => Asked::Queued(ticket),
        }
    }

    fn poll(&mut self, now: Instant, ticket: Ticket, waker: &Waker) -> Poll<Option<ResourceId>> {
        let polled = self.pool.poll(ticket, now, waker);
        polled.map(|answer| answer.ok().map(|grant| grant.resource))
    }

    fn run(&mut self, now: Instant) {
        let mut effects = self.pool.take_effects();
        while let Some((id, _)) = effects.next_close() {
            let gone = self.pool.resource_gone(id, now, CloseReason::Cancelled);
            assert!(gone.is_some());
        }
        drop(effects);
        self.open(now);
        drop(self.pool.take_effects());
    }

    fn cancel(&mut self, now: Instant, ticket: Ticket) {
        self.pool.cancel(ticket, now);
    }

    fn leave(&mut self, now: Instant, waited: Duration, held: Duration) -> Option<Duration> {
        self.pool.abandoned(now, waited, held);
        self.pool.due_within(now, held).filter(|_| self.drains)
    }

    fn end(&mut self, now: Instant, lease: ResourceId, held: Duration, end: End) {
        if matches!(end, End::Good) {
            self.pool.used(now, held);
        }
        let returned = match end {
            End::Good | End::Drained => Returned::reusable(),
            End::Closed => Returned::Retire(CloseReason::Cancelled),
        };
        self.pool.lease_returned(lease, now, returned);
    }

    fn tick(&mut self, now: Instant) {
        self.pool.tick(now);
    }

    fn opened(&self) -> (usize, u64) {
        let stats = self.pool.stats();
        (stats.opened as usize, stats.totals.turns)
    }
}

/// A gate over a client that owns its connections out of sight, and keeps each that it may.
pub(in crate::tests) struct GateLine {
    gate: Gate,
    idle: VecDeque<()>,
    opened: usize,
}

impl GateLine {
    fn lease(&mut self) {
        if self.idle.pop_back().is_none() {
            self.opened += 1;
        }
    }
}

impl Line for GateLine {
    type Lease = ();

    fn new(load: &Load) -> Self {
        let config = GateConfig::new(n(load.cap)).discipline(load.discipline);
        Self {
            gate: Gate::new(config),
            idle: VecDeque::new(),
            opened: 0,
        }
    }

    fn demand(&mut self, now: Instant, ends_at: Option<Instant>) -> Asked<()> {
        match self.gate.demand(now, Demand::new().ends_at(ends_at)) {
            Admission::Granted(_) => {
                self.lease();
                Asked::Granted(())
            }
            Admission::Queued(ticket) => Asked::Queued(ticket),
            Admission::Refused(_) => Asked::Refused,
        }
    }

    fn poll(&mut self, now: Instant, ticket: Ticket, waker: &Waker) -> Poll<Option<()>> {
        let polled = self.gate.poll(ticket, now, waker);
        polled.map(|answer| answer.ok().map(|_| self.lease()))
    }

    fn run(&mut self, _: Instant) {
        drop(self.gate.take_effects());
    }

    fn cancel(&mut self, now: Instant, ticket: Ticket) {
        self.gate.cancel(ticket, now);
    }

    fn leave(&mut self, now: Instant, waited: Duration, held: Duration) -> Option<Duration> {
        self.gate.abandoned(now, waited, held);
        None
    }

    fn end(&mut self, now: Instant, (): (), held: Duration, end: End) {
        match end {
            End::Good => {
                self.gate.used(now, held);
                self.idle.push_back(());
            }
            End::Drained => self.idle.push_back(()),
            End::Closed => {}
        }
        self.gate.release(now);
    }

    fn tick(&mut self, now: Instant) {
        self.gate.tick(now);
    }

    fn opened(&self) -> (usize, u64) {
        (self.opened, self.gate.stats().totals.turns)
    }
}
