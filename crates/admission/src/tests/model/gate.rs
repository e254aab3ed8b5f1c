//! A gate, and with it the queue, against what its promises say.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use tollgate_core::RefuseReason;

use super::{Inputs, Step, stand_at_the_head, steps};
use crate::queue::{Peek, RESERVED_FOR};
use crate::tests::wakes::Wakes;
use crate::{Admission, Demand, Gate, GateConfig, Machine, Ticket};

const MILLI: Duration = Duration::from_millis(1);

pub(super) struct World {
    gate: Gate,
    config: GateConfig,
    now: Instant,
    line: Vec<Ticket>,
    tickets: HashMap<Ticket, Asked>,
    /// Since when a place is reserved for those for whom one is.
    reserved: HashMap<Ticket, Instant>,
    held: usize,
    lowered_from: usize,
    drained: bool,
    pub(super) inputs: Inputs,
}

/// One that asked.
struct Asked {
    hard_deadline: Option<Instant>,
    arrived: Instant,
    /// It had its turn before.
    returned: bool,
}

fn limit(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n.max(1)).expect("at least one")
}

impl World {
    pub(super) fn new(max: usize, max_waiting: usize) -> Self {
        let config = GateConfig::new(limit(max)).max_waiting(max_waiting);
        let config = config.acquire_timeout(MILLI * 300);
        Self {
            gate: Gate::new(config),
            config,
            now: Instant::now(),
            line: Vec::new(),
            tickets: HashMap::new(),
            reserved: HashMap::new(),
            held: 0,
            lowered_from: 0,
            drained: false,
            inputs: Inputs::default(),
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        let before = self.inputs.total();
        match step.kind % 16 {
            5..=7 => self.poll_some(step),
            8 => self.cancel(step),
            9..=11 if self.held > 0 => {
                self.inputs.note("release");
                self.held -= 1;
                self.gate.release(self.now);
            }
            12 => {
                self.inputs.note("time");
                self.now += MILLI * u32::from(step.b % 100);
            }
            13 => {
                self.inputs.note("tick");
                self.gate.tick(self.now);
            }
            14 if step.a.is_multiple_of(4) => {
                self.inputs.note("reconfigure");
                self.lowered_from = self.gate.stats().in_flight;
                self.config.limit = limit(usize::from(step.b % 5));
                self.gate.reconfigure(self.now, self.config);
            }
            15 if step.a % 32 == 0 => {
                self.inputs.note("drain");
                self.drained = true;
                self.gate.drain(self.now);
            }
            _ => {}
        }
        if self.inputs.total() == before {
            self.demand(step);
        }
    }

    fn demand(&mut self, step: Step) {
        self.inputs.note("demand");
        let hard = (step.a % 4 == 0).then(|| self.now + MILLI * u32::from(step.b % 400));
        let over = hard.is_some_and(|at| at <= self.now);
        let retry = step.b % 8 == 0;
        let arrived = self.now.checked_sub(MILLI * u32::from(step.a % 16));
        let demand = Demand::new().hard_deadline(hard).retry(retry);
        let demand = demand.arrived(arrived);
        match self.gate.demand(self.now, demand) {
            Admission::Granted(_) => {
                assert!(!over && !self.drained);
                assert!(self.line.is_empty(), "A4: no barging");
                self.held += 1;
            }
            Admission::Queued(ticket) => {
                assert!(!over && !self.drained);
                let asked = Asked {
                    hard_deadline: hard,
                    arrived: arrived.unwrap_or(self.now),
                    returned: false,
                };
                self.tickets.insert(ticket, asked);
                self.line.push(ticket);
                if retry {
                    self.returned(ticket);
                }
                let waiting = self.gate.stats().queued;
                assert!(retry || waiting <= self.config.max_waiting, "A6: bounded");
            }
            Admission::Refused(refusal) => match refusal.reason {
                RefuseReason::Closed => assert!(self.drained),
                RefuseReason::QueueTimeout => assert!(over),
                RefuseReason::QueueFull => {
                    assert!(self.gate.stats().queued >= self.config.max_waiting);
                }
                reason => panic!("a newcomer is not refused as {reason:?}"),
            },
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

    fn some_ticket(&self, step: Step) -> Option<Ticket> {
        let mut tickets: Vec<_> = self.tickets.keys().copied().collect();
        tickets.sort_unstable_by_key(|ticket| ticket.0.index);
        Some(tickets[step.pick(tickets.len())?])
    }

    fn poll_some(&mut self, step: Step) {
        let Some(ticket) = self.some_ticket(step) else {
            return;
        };
        self.inputs.note("poll");
        let deadline = self.tickets[&ticket].hard_deadline;
        let over = deadline.is_some_and(|at| at <= self.now);
        let (_, waker) = Wakes::new();
        match self.gate.poll(ticket, self.now, &waker) {
            Poll::Pending => {
                let due = self.gate.deadline(ticket);
                assert!(
                    due.is_some_and(|at| at > self.now),
                    "A6: every wait has a deadline"
                );
                self.learns_of_lapses();
                if !self.line.contains(&ticket) {
                    // Its reservation had lapsed.
                    self.returned(ticket);
                }
                return;
            }
            Poll::Ready(Ok(_)) => {
                assert!(!over, "A6");
                self.held += 1;
            }
            Poll::Ready(Err(_)) => {}
        }
        self.tickets.remove(&ticket);
    }

    /// Whoever was polled now asks again when a place that another has not collected goes on: one that
    /// stands now, or any that is made before that poll.
    fn learns_of_lapses(&mut self) {
        let again = self.gate.next_lapse(self.now).expect("time goes on");
        assert!(again > self.now, "nothing is due any more");
        let lapses = self.reserved.iter().filter_map(|(ticket, since)| {
            let stands = self.gate.peek(*ticket) == Some(Peek::Reserved(()));
            // What was due went on in this poll, and may be reserved again.
            Some(*since + RESERVED_FOR).filter(|at| stands && *at > self.now)
        });
        let first = lapses.min().unwrap_or(self.now + RESERVED_FOR);
        assert!(again <= first, "a place falls free and wakes nobody");
    }

    fn cancel(&mut self, step: Step) {
        if let Some(ticket) = self.some_ticket(step) {
            self.inputs.note("cancel");
            self.gate.cancel(ticket, self.now);
            self.tickets.remove(&ticket);
        }
    }

    pub(super) fn check(&mut self) {
        drop(self.gate.take_effects());
        let mut somebody_waits = false;
        for ticket in std::mem::take(&mut self.line) {
            match self.gate.peek(ticket) {
                Some(Peek::Waiting { .. }) => {
                    somebody_waits = true;
                    self.line.push(ticket);
                }
                Some(Peek::Reserved(())) => assert!(!somebody_waits, "A4"),
                _ => {}
            }
        }
        assert_eq!(self.gate.line(), self.line, "A4");
        self.gate.check();
        let stats = self.gate.stats();
        let reserved = |t: &&Ticket| self.gate.peek(**t) == Some(Peek::Reserved(()));
        let reserved = self.tickets.keys().filter(reserved);
        let since = |t: &Ticket| self.reserved.get(t).copied().unwrap_or(self.now);
        self.reserved = reserved.map(|ticket| (*ticket, since(ticket))).collect();
        assert_eq!(
            stats.in_flight,
            self.held + self.reserved.len(),
            "A5: never lost, never doubled"
        );
        self.lowered_from = self.lowered_from.min(stats.in_flight);
        let allowed = stats.limit.max(self.lowered_from);
        assert!(stats.in_flight <= allowed, "A1: the limit is a limit");
        assert!(
            self.line.is_empty() || stats.in_flight >= stats.limit,
            "nobody waits for nothing"
        );
        let open_tickets = self.tickets.len() as u64;
        assert_eq!(
            stats.totals.demands,
            stats.totals.settled() + open_tickets,
            "A10"
        );
    }

    pub(super) fn wind_up(mut self) {
        for ticket in self.tickets.keys() {
            self.gate.cancel(*ticket, self.now);
        }
        for _ in 0..self.held {
            self.gate.release(self.now);
        }
        assert!(self.gate.is_empty(), "A10: {:?}", self.gate.stats());
    }
}

proptest! {
    #[test]
    fn a_gate_keeps_every_promise_after_every_step(
        max in 1..5usize, max_waiting in 0..6usize, steps in steps()
    ) {
        let mut world = World::new(max, max_waiting);
        for step in steps {
            world.step(step);
            world.check();
        }
        world.wind_up();
    }
}
