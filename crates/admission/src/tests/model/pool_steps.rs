//! Every input of a pool.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use proptest::prelude::*;
use tollgate_core::{CloseReason, RefuseReason};

use super::Step;
use super::pool::{BackingOff, Before, World};
use crate::queue::Peek;
use crate::{Admission, BackOff, Demand, PoolConfig, Returned};

const MILLI: Duration = Duration::from_millis(1);

pub(super) fn one_or_more(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n.max(1)).expect("at least one")
}

/// Small limits and short times, so that each is met often. No jitter: the model knows when.
pub(super) fn config() -> impl Strategy<Value = PoolConfig> {
    let limits = (1..5usize, 1..4usize, 0..3usize, 0..5usize, 0..4usize);
    let times = (0..3u64, 0..3u64, 0..4u64, 0..3usize, 1..4u32);
    (limits, times).prop_map(|(limits, times)| {
        let (max_open, max_opening, max_draining, max_waiting, max_idle) = limits;
        let (idle, life, requests, min_idle, after) = times;
        let back_off = BackOff::new()
            .after(NonZeroU32::new(after).expect("at least one"))
            .jitter_percent(0);
        PoolConfig::new()
            .max_connections_per_origin(one_or_more(max_open))
            .max_connecting_per_origin(one_or_more(max_opening))
            .max_draining(max_draining)
            .max_waiting(max_waiting)
            .max_idle_per_origin(if max_idle == 0 { usize::MAX } else { max_idle })
            .acquire_timeout(MILLI * 300)
            .idle_timeout((idle > 0).then(|| MILLI * 200 * idle as u32))
            .max_lifetime((life > 0).then(|| MILLI * 500 * life as u32))
            .lifetime_jitter_percent(0)
            .max_requests_per_connection(NonZeroU64::new(requests))
            .min_idle_per_origin(min_idle)
            .back_off(back_off)
    })
}

impl World {
    pub(super) fn step(&mut self, step: Step, before: &Before) {
        let inputs = self.inputs.total();
        match step.kind % 32 {
            6..=8 => self.poll_some(step),
            9 => self.cancel(step),
            10..=12 => self.start_open(),
            13..=15 => self.opened(step),
            16 if step.a % 4 == 0 => self.open_blocked(),
            16 => self.open_failed(),
            17..=20 => self.give_back(step),
            21..=23 => self.socket_gone(step),
            24..=25 => self.time_passes(step),
            26 => self.tick(),
            27 => self.credit_changed(step),
            28 => self.retire(step),
            29 => self.from_outside(step),
            30 => self.rarely(step),
            _ => {}
        }
        if self.inputs.total() == inputs {
            self.demand(step, before);
        }
    }

    fn demand(&mut self, step: Step, before: &Before) {
        self.inputs.note("demand");
        let hard_deadline = match step.a % 4 {
            0 => Some(self.now + MILLI * u32::from(step.b % 400)),
            _ => None,
        };
        let retry = step.b % 8 == 0;
        let limit = (self.learns && step.a % 3 == 0).then(|| MILLI * u32::from(step.a % 500));
        let ends_at = limit.map(|limit| self.now + limit);
        let demand = Demand::new()
            .hard_deadline(hard_deadline)
            .ends_at(ends_at)
            .retry(retry)
            .arrived(self.now.checked_sub(MILLI * u32::from(step.a % 16)))
            .opens_when_polled(step.b % 3 == 0);
        let passed = |at: Option<_>| at.is_some_and(|at| at <= self.now);
        let over = passed(hard_deadline) || passed(ends_at);
        self.pause_may_be_over();
        let admission = self.pool.demand(self.now, demand);
        self.note_draining();
        match admission {
            Admission::Granted(grant) => {
                assert!(!over, "A6: whose request is over is granted nothing");
                assert!(self.line.is_empty(), "A4: no barging");
                self.check_newest(before, &grant);
                self.granted(grant);
            }
            Admission::Queued(ticket) => {
                assert!(!over && !self.drained);
                assert!(!self.pauses() || self.waits_for_probe(&demand), "A7");
                assert!(retry || self.has_waiting_room(), "A6: bounded");
                self.queued(ticket, &demand);
                if step.a % 8 != 7 {
                    self.poll(ticket);
                }
            }
            Admission::Refused(refusal) => match refusal.reason {
                RefuseReason::Closed => assert!(self.drained),
                RefuseReason::QueueTimeout => match refusal.late {
                    Some(late) => assert!(limit.is_some_and(|limit| limit < late.needed()), "A13"),
                    None => assert!(over),
                },
                RefuseReason::BackingOff => {
                    assert!(self.pauses() && !self.waits_for_probe(&demand), "A7");
                    assert_eq!(refusal.error, Some(self.errors), "told the last error");
                }
                RefuseReason::QueueFull => assert!(!retry && !self.has_waiting_room(), "A6"),
                reason => panic!("a newcomer is not refused as {reason:?}"),
            },
        }
    }

    /// Whether a request has time until the probe, and fewer wait for that than may.
    fn waits_for_probe(&self, demand: &Demand) -> bool {
        let BackingOff::Until { at, .. } = self.back_off else {
            return false;
        };
        let waits = |t: &&_| matches!(self.pool.peek(**t), Some(Peek::Waiting { .. }));
        let waiting = self.line.iter().filter(waits).count();
        let lapses = Some(self.now + MILLI * 300);
        let ends = [lapses, demand.hard_deadline, demand.ends_at];
        waiting < self.config.max_waiting && ends.into_iter().flatten().all(|ends| ends > at)
    }

    /// Whether one more may wait, by those who still do.
    fn has_waiting_room(&self) -> bool {
        let waits = |t: &&_| matches!(self.pool.peek(**t), Some(Peek::Waiting { .. }));
        let waiting = self.line.iter().filter(waits).count();
        // The demand itself may have found that one has outlived its time and set it to drain, which
        // this model learns of only afterwards.
        let draining = self.pool.stats().draining.min(self.config.max_draining);
        let places = (self.sockets.len() - draining).min(self.occupied() - self.opening);
        let own = self
            .config
            .max_connections_per_origin
            .get()
            .saturating_sub(places);
        waiting < self.config.max_waiting + own
    }

    fn poll_some(&mut self, step: Step) {
        let mut tickets: Vec<_> = self.tickets.keys().copied().collect();
        tickets.sort_unstable_by_key(|ticket| ticket.0.index);
        if let Some(at) = step.pick(tickets.len()) {
            self.poll(tickets[at]);
        }
    }

    /// As a busy runtime does; each poll is a step of its own.
    pub(super) fn poll_all(&mut self) {
        let mut tickets: Vec<_> = self.tickets.keys().copied().collect();
        tickets.sort_unstable_by_key(|ticket| ticket.0.index);
        for ticket in tickets {
            let before = self.before();
            self.poll(ticket);
            self.after(&before);
        }
    }

    fn cancel(&mut self, step: Step) {
        let mut tickets: Vec<_> = self.tickets.keys().copied().collect();
        tickets.sort_unstable_by_key(|ticket| ticket.0.index);
        if let Some(at) = step.pick(tickets.len()) {
            self.inputs.note("cancel");
            self.pool.cancel(tickets[at], self.now);
            self.tickets.remove(&tickets[at]);
            self.line.retain(|each| *each != tickets[at]);
        }
    }

    fn give_back(&mut self, step: Step) {
        if step.b % 4 == 0
            && let Some(resource) = self.stale.pop()
        {
            self.inputs.note("stale lease_returned");
            let returned = Returned::reusable();
            return self.pool.lease_returned(resource, self.now, returned);
        }
        let Some(at) = step.pick(self.held.len()) else {
            return;
        };
        self.inputs.note("lease_returned");
        let resource = self.held.swap_remove(at);
        let returned = match step.b % 8 {
            0 if step.a % 2 == 0 => Returned::Retire(CloseReason::Cancelled),
            0 => Returned::Retire(CloseReason::PeerClose),
            1 => Returned::Unused,
            2 => Returned::Reusable {
                idle_for: Some(MILLI * u32::from(step.b % 90)),
                remaining_uses: Some(u64::from(step.b % 3)),
            },
            _ => Returned::reusable(),
        };
        if self.learns {
            self.exchange_ends(step);
        }
        if let Returned::Reusable { idle_for, .. } = returned {
            self.hints.remove(&resource);
            let until = idle_for.map(|idle_for| (resource, self.now + idle_for));
            self.hints.extend(until);
        }
        self.pool.lease_returned(resource, self.now, returned);
    }

    /// Of any length, with its answer or without.
    fn exchange_ends(&mut self, step: Step) {
        let held = MILLI * u32::from(step.b % 300);
        if step.a % 2 == 0 {
            let waited = MILLI * u32::from(step.a % 600);
            self.pool.abandoned(self.now, waited, held);
        } else {
            self.pool.used(self.now, held);
        }
        let due = self.pool.due_within(self.now, held);
        assert!(due.is_none_or(|due| due <= MILLI * 1_000), "within a bound");
    }

    fn socket_gone(&mut self, step: Step) {
        let mut sockets: Vec<_> = self.sockets.iter().collect();
        sockets.sort_unstable_by_key(|(id, told)| (!**told, id.0.index));
        // Mostly one that was told to, as good peers are.
        let told = sockets.iter().filter(|(_, told)| **told).count();
        let among = if step.b % 4 == 0 { sockets.len() } else { told };
        let Some(at) = step.pick(among) else {
            return;
        };
        self.inputs.note("resource_gone");
        let resource = *sockets[at].0;
        let gone = self
            .pool
            .resource_gone(resource, self.now, CloseReason::PeerEof);
        assert!(gone.is_some());
        let again = self
            .pool
            .resource_gone(resource, self.now, CloseReason::PeerEof);
        assert!(again.is_none(), "a place is freed once");
        self.sockets.remove(&resource);
        let (stale, held) = self.held.iter().partition(|id| **id == resource);
        self.held = held;
        self.stale.extend::<Vec<_>>(stale);
    }

    fn time_passes(&mut self, step: Step) {
        self.inputs.note("time");
        self.advance(
            MILLI
                * u32::from(if step.a % 4 == 0 {
                    step.b % 700
                } else {
                    step.b % 60
                }),
        );
    }

    fn tick(&mut self) {
        self.inputs.note("tick");
        self.pause_may_be_over();
        if let Some(timeout) = self.config.idle_timeout {
            for info in self.pool.resources() {
                let due = info.idle_since.map(|since| since + timeout);
                let live = info.state == crate::ResourceState::Live;
                if let Some(due) = due.filter(|_| live && self.excess == 0) {
                    assert!(
                        self.pool.next_tick().is_some_and(|at| at <= due),
                        "A9: in time"
                    );
                }
            }
        }
        self.pool.tick(self.now);
        assert!(
            self.pool.next_tick().is_none_or(|at| at > self.now),
            "A9: once"
        );
        for info in self.pool.resources() {
            if let (Some(timeout), Some(since)) = (self.config.idle_timeout, info.idle_since) {
                let closing = info.state != crate::ResourceState::Live;
                assert!(closing || since + timeout > self.now, "A9: closed on time");
            }
        }
        for ticket in self.pool.line() {
            let due = self.pool.deadline(ticket);
            assert!(due.is_none_or(|at| at > self.now), "A6: expired");
        }
    }
}
