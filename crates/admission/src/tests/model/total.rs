//! Several pools under one total, following the protocol of [`Total`].

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::task::{Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use tollgate_core::CloseReason;

use super::{Inputs, Step, steps};
use crate::{Admission, Demand, Pool, PoolConfig, ResourceId, Returned, Ticket, Total};

const MILLI: Duration = Duration::from_millis(1);

/// Pools, their total, and an owner that does what the protocol says.
pub(super) struct World {
    pub(super) pools: Vec<Origin>,
    pub(super) total: Total<usize>,
    pub(super) now: Instant,
    pub(super) inputs: Inputs,
}

pub(super) struct Origin {
    pub(super) pool: Pool<u32>,
    pub(super) tickets: Vec<Ticket>,
    pub(super) held: Vec<ResourceId>,
    /// Sockets, and whether they were told to close.
    pub(super) sockets: HashMap<ResourceId, bool>,
    pub(super) opening: usize,
    pub(super) yielding: (usize, usize),
}

impl World {
    pub(super) fn new(max: usize, origins: usize, own: usize) -> Self {
        let limit = |n| NonZeroUsize::new(n).expect("at least one");
        let origin = |_| {
            let config = PoolConfig::new().max_connections_per_origin(limit(own));
            let config = config.acquire_timeout(MILLI * 100_000).max_lifetime(None);
            Origin {
                pool: Pool::new(config.idle_timeout(Some(MILLI * 500))),
                tickets: Vec::new(),
                held: Vec::new(),
                sockets: HashMap::new(),
                opening: 0,
                yielding: (0, 0),
            }
        };
        Self {
            pools: (0..origins).map(origin).collect(),
            total: Total::new(limit(max)),
            now: Instant::now(),
            inputs: Inputs::default(),
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        let at = usize::from(step.b) % self.pools.len();
        let before = self.inputs.total();
        match step.kind % 16 {
            0..=3 => {}
            4..=6 => self.collect(at, step),
            7 => self.cancel(at, step),
            8 | 9 => self.opened(at),
            10 => self.open_failed(at),
            11..=13 => self.give_back(at, step),
            14 => self.some_socket_gone(at, step),
            _ => self.tick(at, step),
        }
        if self.inputs.total() == before {
            self.demand(at);
        }
        self.settle();
        self.check();
    }

    fn demand(&mut self, at: usize) {
        self.inputs.note("demand");
        let origin = &mut self.pools[at];
        match origin.pool.demand(self.now, Demand::new()) {
            Admission::Granted(grant) => origin.held.push(grant.resource),
            Admission::Queued(ticket) => origin.tickets.push(ticket),
            Admission::Refused(_) => {}
        }
    }

    fn collect(&mut self, at: usize, step: Step) {
        let origin = &mut self.pools[at];
        let Some(index) = step.pick(origin.tickets.len()) else {
            return;
        };
        self.inputs.note("poll");
        match origin
            .pool
            .poll(origin.tickets[index], self.now, Waker::noop())
        {
            Poll::Pending => return,
            Poll::Ready(Ok(grant)) => origin.held.push(grant.resource),
            Poll::Ready(Err(_)) => {}
        }
        origin.tickets.remove(index);
    }

    fn cancel(&mut self, at: usize, step: Step) {
        let origin = &mut self.pools[at];
        if let Some(index) = step.pick(origin.tickets.len()) {
            self.inputs.note("cancel");
            let ticket = origin.tickets.remove(index);
            origin.pool.cancel(ticket, self.now);
        }
    }

    fn opened(&mut self, at: usize) {
        let origin = &mut self.pools[at];
        if origin.opening > 0 {
            self.inputs.note("opened");
            origin.opening -= 1;
            let id = origin.pool.opened(self.now, NonZeroUsize::MIN);
            origin.sockets.insert(id, false);
        }
    }

    fn open_failed(&mut self, at: usize) {
        let origin = &mut self.pools[at];
        if origin.opening > 0 {
            self.inputs.note("open_failed");
            origin.opening -= 1;
            origin.pool.open_failed(self.now, 0);
            self.release();
        }
    }

    fn give_back(&mut self, at: usize, step: Step) {
        let origin = &mut self.pools[at];
        let Some(index) = step.pick(origin.held.len()) else {
            return;
        };
        self.inputs.note("lease_returned");
        let resource = origin.held.swap_remove(index);
        let head = origin.pool.head_waiting_since();
        let gives_way = self.total.is_blocking() && self.total.gives_way(&at, head, self.now);
        let returned = if gives_way {
            self.inputs.note("gives_way");
            Returned::Retire(CloseReason::Reclaimed)
        } else {
            Returned::reusable()
        };
        origin.pool.lease_returned(resource, self.now, returned);
    }

    fn some_socket_gone(&mut self, at: usize, step: Step) {
        let sockets = &self.pools[at].sockets;
        let mut all: Vec<_> = sockets
            .iter()
            .map(|(id, told)| (!told, id.0.index, *id))
            .collect();
        all.sort_unstable_by_key(|(told, index, _)| (*told, *index));
        if let Some(index) = step.pick(all.len()) {
            self.gone(at, all[index].2);
        }
    }

    fn gone(&mut self, at: usize, id: ResourceId) {
        self.inputs.note("resource_gone");
        let origin = &mut self.pools[at];
        assert!(
            origin
                .pool
                .resource_gone(id, self.now, CloseReason::PeerEof)
                .is_some()
        );
        origin.sockets.remove(&id);
        origin.held.retain(|held| *held != id);
        self.release();
    }

    fn tick(&mut self, at: usize, step: Step) {
        self.inputs.note("tick");
        self.now += MILLI * u32::from(step.a % 100);
        self.pools[at].pool.tick(self.now);
    }

    /// Serves on with everything going well; everybody must get their turn.
    fn serve_all(&mut self) {
        let step = |a| Step { kind: 0, a, b: 0 };
        for _ in 0..600 {
            if self.pools.iter().all(|origin| origin.tickets.is_empty()) {
                return;
            }
            self.now += MILLI * 30;
            for at in 0..self.pools.len() {
                let told = self.pools[at].sockets.iter().filter(|(_, told)| **told);
                for id in told.map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.gone(at, id);
                }
                self.opened(at);
                for index in (0..self.pools[at].tickets.len()).rev() {
                    self.collect(at, step(u16::try_from(index).unwrap()));
                }
                self.give_back(at, step(0));
                self.pools[at].pool.tick(self.now);
                self.settle();
                self.check();
            }
        }
        let stats: Vec<_> = self
            .pools
            .iter()
            .map(|origin| origin.pool.stats())
            .collect();
        panic!("A8: somebody starves: {:?}, {stats:#?}", self.total);
    }

    fn wind_up(mut self) {
        for origin in &mut self.pools {
            origin.pool.drain(self.now);
            for id in origin.held.drain(..) {
                origin
                    .pool
                    .lease_returned(id, self.now, Returned::reusable());
            }
        }
        for at in 0..self.pools.len() {
            while self.pools[at].opening > 0 {
                self.open_failed(at);
            }
            for id in self.pools[at].sockets.keys().copied().collect::<Vec<_>>() {
                self.gone(at, id);
            }
        }
        assert_eq!(self.total.held(), 0, "A10: every place comes back");
    }
}

proptest! {
    #[test]
    fn a_total_loses_no_place_and_starves_none(
        max in 1..5usize, origins in 1..5usize, own in 1..4usize, steps in steps()
    ) {
        let mut world = World::new(max, origins, own);
        for step in steps {
            world.step(step);
        }
        world.serve_all();
        world.wind_up();
    }
}

#[test]
fn eight_places_starve_none_of_twenty_origins() {
    let mut world = World::new(8, 20, 8);
    let mut served = [0; 20];
    for round in 0..2_000u16 {
        world.now += MILLI;
        for at in 0..20 {
            // Two always have ten waiting; the others want one each, once.
            let wants = if at < 2 { 10 } else { usize::from(round == 50) };
            while world.pools[at].tickets.len() < wants {
                world.demand(at);
            }
            world.settle();
            let told = world.pools[at].sockets.iter().filter(|(_, told)| **told);
            for id in told.map(|(id, _)| *id).collect::<Vec<_>>() {
                world.gone(at, id);
            }
            world.opened(at);
            let step = |a| Step { kind: 0, a, b: 0 };
            world.collect(at, step(0));
            if !world.pools[at].held.is_empty() {
                world.give_back(at, step(0));
                served[at] += 1;
            }
            world.settle();
            world.check();
        }
    }
    assert!(served[2..].iter().all(|n| *n == 1), "{served:?}");
    assert!(served[..2].iter().all(|n| *n > 500), "{served:?}");
}
