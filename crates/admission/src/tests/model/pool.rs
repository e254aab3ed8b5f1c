//! One pool against what its promises say.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use tollgate_core::{CloseReason, QueueOrder, RefuseReason};

use super::{Inputs, stand_at_the_head, steps};
use crate::queue::Peek;
use crate::tests::wakes::Wakes;
use crate::{
    Demand, Grant, Machine, Pool, PoolConfig, Refusal, ResourceId, ResourceInfo, ResourceState,
    Ticket,
};

/// A pool, and what an observer from outside knows about it.
pub(super) struct World {
    pub(super) pool: Pool<u32>,
    pub(super) config: PoolConfig,
    pub(super) now: Instant,
    /// Those who wait, in the order in which they must be served.
    pub(super) line: Vec<Ticket>,
    pub(super) tickets: HashMap<Ticket, Asked>,
    /// Leases out on connections that exist.
    pub(super) held: Vec<ResourceId>,
    /// Leases out on connections that are gone.
    pub(super) stale: Vec<ResourceId>,
    /// Sockets that exist, and whether they were told to close.
    pub(super) sockets: HashMap<ResourceId, bool>,
    /// Those that offered more than one lease, or might have.
    pub(super) shared: HashSet<ResourceId>,
    /// Those of them that drain, or close after that.
    pub(super) beside: HashSet<ResourceId>,
    /// Until when a peer lets its connection be idle.
    pub(super) hints: HashMap<ResourceId, Instant>,
    pub(super) opening: usize,
    pub(super) back_off: BackingOff,
    pub(super) errors: u32,
    pub(super) drained: bool,
    /// Uses, limits and callers that leave are told, so that the order adapts (A13).
    pub(super) learns: bool,
    /// The limit was lowered below what was open.
    pub(super) excess: usize,
    pub(super) inputs: Inputs,
}

pub(super) struct Asked {
    pub(super) hard_deadline: Option<Instant>,
    pub(super) ends_at: Option<Instant>,
    arrived: Instant,
    /// It had its turn before.
    returned: bool,
    /// An open may be started for it.
    pub(super) asks: bool,
    pub(super) wakes: Arc<Wakes>,
    waker: Waker,
    /// Whether the pool has been given the waker since it last woke it.
    pub(super) armed: bool,
    pub(super) seen: usize,
}

/// A7 as the model has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum BackingOff {
    Normal { failures: u32 },
    Until { at: Instant, doublings: u32 },
    Probing { started: bool, doublings: u32 },
}

/// What was so before a step.
pub(super) struct Before {
    pub(super) line: Vec<(Ticket, bool)>,
    pub(super) resources: Vec<ResourceInfo>,
    pub(super) occupied: usize,
    pub(super) order: QueueOrder,
}

impl World {
    pub(super) fn new(config: PoolConfig) -> Self {
        Self {
            pool: Pool::new(config.clone()),
            config,
            now: Instant::now(),
            line: Vec::new(),
            tickets: HashMap::new(),
            held: Vec::new(),
            stale: Vec::new(),
            sockets: HashMap::new(),
            shared: HashSet::new(),
            beside: HashSet::new(),
            hints: HashMap::new(),
            opening: 0,
            back_off: BackingOff::Normal { failures: 0 },
            errors: 0,
            drained: false,
            learns: false,
            excess: 0,
            inputs: Inputs::default(),
        }
    }

    pub(super) fn learning(config: PoolConfig) -> Self {
        Self {
            learns: true,
            ..Self::new(config)
        }
    }

    pub(super) fn before(&self) -> Before {
        let covered = |ticket| self.pool.peek(ticket) == Some(Peek::Waiting { covered: true });
        Before {
            line: self.line.iter().map(|&t| (t, covered(t))).collect(),
            resources: self.pool.resources().collect(),
            occupied: self.occupied(),
            order: self.pool.stats().order,
        }
    }

    /// Sockets and opens, less the draining ones that may live beside their replacement.
    pub(super) fn occupied(&self) -> usize {
        self.sockets.len() + self.opening - self.beside_now().min(self.config.max_draining)
    }

    pub(super) fn is_over(&self, ticket: Ticket) -> bool {
        let asked = &self.tickets[&ticket];
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= self.now);
        passed(asked.hard_deadline) || passed(asked.ends_at)
    }

    /// The number of those in the line for which an open may be started.
    pub(super) fn asking(&self) -> usize {
        let line = self.pool.line();
        line.iter().filter(|one| self.tickets[one].asks).count()
    }

    pub(super) fn queued(&mut self, ticket: Ticket, demand: &Demand) {
        let (wakes, waker) = Wakes::new();
        let asked = Asked {
            hard_deadline: demand.hard_deadline,
            ends_at: demand.ends_at,
            arrived: demand.arrived.unwrap_or(self.now),
            returned: false,
            asks: !demand.opens_when_polled,
            wakes,
            waker,
            armed: false,
            seen: 0,
        };
        self.tickets.insert(ticket, asked);
        self.line.push(ticket);
        if demand.retry {
            self.returned(ticket);
        }
    }

    /// One that had its turn before stands at the head, behind those of its kind that arrived before it.
    fn returned(&mut self, ticket: Ticket) {
        self.tickets.get_mut(&ticket).expect("asked").returned = true;
        let tickets = &self.tickets;
        stand_at_the_head(&mut self.line, ticket, |each| {
            let asked = tickets.get(each).filter(|asked| asked.returned);
            asked.map(|asked| asked.arrived)
        });
    }

    /// Polls a ticket and books what comes of it.
    pub(super) fn poll(&mut self, ticket: Ticket) {
        self.inputs.note("poll");
        self.tickets.get_mut(&ticket).expect("asked").asks = true;
        let asked = &self.tickets[&ticket];
        let over = self.is_over(ticket);
        match self.pool.poll(ticket, self.now, &asked.waker) {
            Poll::Pending => {
                assert!(!over, "A6: whose request is over does not wait");
                let due = self.pool.deadline(ticket);
                assert!(due.is_none_or(|at| at > self.now));
                self.tickets.get_mut(&ticket).expect("asked").armed = true;
                if !self.line.contains(&ticket) {
                    // Its connection was lost after it was reserved.
                    self.returned(ticket);
                }
            }
            Poll::Ready(Ok(grant)) => {
                assert!(!over, "A6: whose request is over is granted nothing");
                self.tickets.remove(&ticket);
                self.line.retain(|each| *each != ticket);
                self.granted(grant);
            }
            Poll::Ready(Err(refusal)) => {
                self.check_refusal(&refusal);
                self.check_late(ticket, &refusal);
                self.tickets.remove(&ticket);
                self.line.retain(|each| *each != ticket);
            }
        }
    }

    pub(super) fn granted(&mut self, grant: Grant) {
        assert!(
            self.sockets.contains_key(&grant.resource),
            "a grant names a live socket"
        );
        let info = self.pool.resource(grant.resource).expect("it is live");
        assert!(!matches!(info.state, ResourceState::Closing(_)));
        self.held.push(grant.resource);
    }

    fn check_refusal(&self, refusal: &Refusal<u32>) {
        let failed = matches!(
            refusal.reason,
            RefuseReason::Connect | RefuseReason::BackingOff
        );
        assert_eq!(failed, refusal.error.is_some(), "told the real cause");
        assert_ne!(refusal.reason, RefuseReason::Cancelled);
    }

    /// A13: refused early only for a limit that leaves too little.
    fn check_late(&self, ticket: Ticket, refusal: &Refusal<u32>) {
        if let Some(late) = refusal.late {
            assert_eq!(refusal.reason, RefuseReason::QueueTimeout);
            assert!(late.left < late.needed());
            assert!(self.tickets[&ticket].ends_at.is_some(), "A13");
        }
    }

    /// Ends everything; then every gauge must be zero, and the pool may be forgotten.
    pub(super) fn wind_up(mut self) {
        self.pool.drain(self.now);
        for ticket in self.tickets.keys().copied().collect::<Vec<_>>() {
            self.pool.cancel(ticket, self.now);
        }
        while self.opening > 0 {
            self.opening -= 1;
            self.pool.open_failed(self.now, 0);
        }
        for resource in std::mem::take(&mut self.held) {
            self.pool
                .lease_returned(resource, self.now, crate::Returned::reusable());
        }
        drop(self.pool.take_effects());
        for resource in self.sockets.keys().copied().collect::<Vec<_>>() {
            let info = self.pool.resource(resource).expect("not gone");
            assert!(matches!(info.state, ResourceState::Closing(_)), "{info:?}");
            let gone = self
                .pool
                .resource_gone(resource, self.now, CloseReason::Error);
            assert!(gone.is_some());
        }
        self.pool.check();
        assert!(self.pool.is_empty(), "A11: {:?}", self.pool.stats());
        let stats = self.pool.stats();
        assert_eq!((stats.in_flight, stats.queued, stats.idle), (0, 0, 0));
        assert_eq!(stats.totals.demands, stats.totals.settled(), "A10");
        assert_eq!(stats.opened, stats.closed, "A10");
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now += by;
    }
}

proptest! {
    #[test]
    fn a_pool_that_learns_keeps_every_promise(config in super::pool_steps::config(), steps in steps()) {
        let mut world = World::learning(config);
        for step in steps {
            let before = world.before();
            world.step(step, &before);
            world.after(&before);
        }
        world.wind_up();
    }

    #[test]
    fn a_pool_keeps_every_promise_after_every_step(config in super::pool_steps::config(), steps in steps()) {
        let mut world = World::new(config);
        for step in steps {
            let before = world.before();
            world.step(step, &before);
            world.after(&before);
            if step.kind % 32 == 31 {
                world.poll_all();
            }
        }
        world.wind_up();
    }
}
