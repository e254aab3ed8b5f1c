//! What follows from a step, and what happens as time passes.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{Machine, Pool};

use super::calls::{Call, Stage};
use super::places::Places;
use super::{Connection, Dial, Follows, Happening, Outcome, Reference, STREAMS};

/// More turns than it takes to close a connection, and those that the preface and its answer take.
const TURNS: usize = 4;

struct Woken(usize, Arc<Mutex<Vec<usize>>>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

impl Reference {
    pub(super) fn dialled(&mut self, of: usize, outcome: Outcome) {
        let now = self.now;
        match outcome {
            Outcome::Connects if self.http2 => {
                return self.happens.push_back(Happening::Begins(of, TURNS));
            }
            Outcome::Connects => return self.opened(of, 1, false),
            Outcome::Fails => self.engine(of).open_failed(now, ()),
            Outcome::NoPort => self.engine(of).open_blocked(now, ()),
        }
        self.settle(of);
    }

    fn opened(&mut self, of: usize, leases: usize, http2: bool) {
        let now = self.now;
        let pool = self.engine(of);
        let resource = pool.opened(now, NonZeroUsize::new(leases).unwrap());
        if http2 {
            pool.credit_changed(resource, now, leases);
        }
        self.connections.push(Connection {
            origin: of,
            resource,
            http2,
        });
        self.settle(of);
    }

    /// Starts what is to be opened, and takes note of what else follows, here and elsewhere.
    pub(super) fn settle(&mut self, of: usize) {
        self.settle_one(of);
        while let Some(follows) = self.follows.pop_front() {
            match follows {
                Follows::Place(next) => {
                    self.places.as_mut().unwrap().granted(next);
                    self.settle_one(next);
                }
                Follows::Reclaim => self.reclaim(),
            }
        }
    }

    fn settle_one(&mut self, of: usize) {
        let now = self.now;
        let pool = self.pools[of].as_mut().unwrap();
        let mut dials = 0;
        pool.make_room();
        while pool.wants_open(now) {
            let places = self.places.as_mut();
            if places.is_some_and(|places| !places.take(of, pool, now)) || !pool.start_open(now) {
                break;
            }
            dials += 1;
        }
        if let Some(places) = &mut self.places {
            let passed = places.settle(of, pool, pool.wants_open(now));
            self.follows.extend(passed.into_iter().map(Follows::Place));
            let short = places.is_short().then_some(Follows::Reclaim);
            self.follows.extend(short);
        }
        let mut effects = pool.take_effects();
        while let Some((resource, reason)) = effects.next_close() {
            self.happens
                .push_back(Happening::Gone(of, resource, reason));
        }
        self.happens
            .extend(std::iter::repeat_n(of, dials).map(Happening::Dial));
        drop(effects);
        let woken = std::mem::take(&mut *self.woken.lock().unwrap());
        self.happens.extend(woken.into_iter().map(Happening::Poll));
    }

    /// Closes the connections that have idled longest, of any origin, for as many as wait.
    fn reclaim(&mut self) {
        while self.places.as_ref().is_some_and(Places::is_short) {
            let since = |of: &usize| self.pools[*of].as_ref()?.oldest_idle();
            let idle = self.met.iter().copied().filter(|of| since(of).is_some());
            let Some(of) = idle.min_by_key(since) else {
                return;
            };
            let beside = |happening: &Happening| !matches!(happening, Happening::Poll(_));
            self.is_undecided |= self.happens.iter().any(beside);
            self.engine(of).reclaim_oldest_idle();
            self.settle_one(of);
        }
    }

    pub(super) fn run(&mut self) {
        while let Some(happening) = self.happens.pop_front() {
            let now = self.now;
            match happening {
                Happening::Poll(number) => self.poll(number),
                Happening::Gone(of, resource, reason) => {
                    self.engine(of).resource_gone(resource, now, reason);
                    self.settle(of);
                }
                Happening::Returned(of, resource, returned) => {
                    self.returned(of, resource, returned);
                }
                Happening::Dial(of) => self.dial(of),
                Happening::Dialled(of, outcome) => self.dialled(of, outcome),
                Happening::Begins(of, 0) => self.opened(of, STREAMS, true),
                Happening::Begins(of, turns) => {
                    self.happens.push_back(Happening::Begins(of, turns - 1));
                }
            }
        }
    }

    fn dial(&mut self, of: usize) {
        let until = self.now + self.connect_timeout;
        let outcome = match self.plans.pop_front() {
            None => Outcome::Connects,
            Some(Dial::Held) => return self.held_dials.push((until, Some(of))),
            Some(Dial::Hangs) => return self.hanging.push((until, of)),
            Some(Dial::NoPort) => Outcome::NoPort,
            Some(Dial::Fails | Dial::Panics) => Outcome::Fails,
        };
        self.dialled(of, outcome);
    }

    fn poll(&mut self, number: usize) {
        let Some(call) = self.calls.get(&number) else {
            return;
        };
        let (of, Stage::Waits(ticket)) = (call.origin, call.stage) else {
            return;
        };
        let waker = Waker::from(Arc::new(Woken(number, self.woken.clone())));
        let now = self.now;
        match self.engine(of).poll(ticket, now, &waker) {
            Poll::Ready(Ok(grant)) => {
                let stage = self.granted(number, &grant);
                self.calls.get_mut(&number).unwrap().stage = stage;
            }
            Poll::Ready(Err(_)) => drop(self.calls.remove(&number)),
            Poll::Pending => {}
        }
        self.settle(of);
    }

    /// Does all that is due until then.
    pub(in super::super::super) fn advance(&mut self, to: Instant) {
        while let Some(next) = self.next_due().filter(|next| *next <= to) {
            self.now = next.max(self.now);
            self.tick();
            let late = self
                .calls
                .iter()
                .filter(|(_, call)| self.deadline(call).is_some_and(|at| at <= self.now));
            let late: Vec<_> = late.map(|(number, _)| Happening::Poll(*number)).collect();
            self.happens.extend(late);
            self.time_dials_out();
            self.give_up_taking_in();
            self.run();
        }
        self.now = to;
    }

    /// Those that are due at one moment in the order in which they were met.
    fn tick(&mut self) {
        let now = self.now;
        let tick = |of: &usize| self.pools[*of].as_ref().and_then(Pool::next_tick);
        let mut due = self.met.clone();
        due.retain(|of| tick(of).is_some_and(|at| at <= now));
        due.sort_by_key(tick);
        for of in due {
            self.engine(of).tick(now);
            self.settle(of);
        }
    }

    fn time_dials_out(&mut self) {
        let now = self.now;
        let hung = self.hanging.extract_if(.., |(until, _)| *until <= now);
        let mut over: Vec<_> = hung.collect();
        let held = self.held_dials.iter_mut();
        let late = held.filter(|(until, of)| *until <= now && of.is_some());
        over.extend(late.filter_map(|(until, of)| Some((*until, of.take()?))));
        let over = over.into_iter();
        let over = over.map(|(_, of)| Happening::Dialled(of, Outcome::Fails));
        self.happens.extend(over);
    }

    /// The time at which the next tick or timer is due.
    pub(in super::super::super) fn next_due(&self) -> Option<Instant> {
        let ticks = self.pools.iter().flatten().filter_map(Pool::next_tick);
        let timers = self.calls.values().filter_map(|call| self.deadline(call));
        let held = self.held_dials.iter().filter(|(_, of)| of.is_some());
        let dials = self.hanging.iter().map(|(until, _)| *until);
        let dials = dials.chain(held.map(|(until, _)| *until));
        let answers = self.taken_in.iter().map(|one| one.until);
        let due = ticks.chain(timers).chain(dials).chain(answers).min()?;
        // A timer rounds up, as the clock of a test stands at whole milliseconds from its start.
        let millis = due.saturating_duration_since(self.start).as_nanos();
        let millis = millis.div_ceil(Duration::from_millis(1).as_nanos());
        Some(self.start + Duration::from_millis(u64::try_from(millis).unwrap()))
    }

    /// The time at which a call that waits looks again on its own timer.
    fn deadline(&self, call: &Call) -> Option<Instant> {
        match call.stage {
            Stage::Waits(ticket) if call.polled => {
                self.pools[call.origin].as_ref().unwrap().deadline(ticket)
            }
            _ => None,
        }
    }
}
