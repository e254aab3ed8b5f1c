//! The inputs that come from outside: peers, the owner, whoever runs it.

use std::time::Duration;

use tollgate_core::CloseReason;

use super::Step;
use super::pool::{BackingOff, World};
use super::pool_steps::one_or_more;

const MILLI: Duration = Duration::from_millis(1);

impl World {
    pub(super) fn some_socket(&self, step: Step) -> Option<crate::ResourceId> {
        let mut sockets: Vec<_> = self.sockets.keys().copied().collect();
        sockets.sort_unstable_by_key(|id| id.0.index);
        Some(sockets[step.pick(sockets.len())?])
    }

    pub(super) fn credit_changed(&mut self, step: Step) {
        if let Some(resource) = self.some_socket(step) {
            self.inputs.note("credit_changed");
            let capacity = usize::from(step.b % 4);
            let state = self.pool.resource(resource).map(|info| info.state);
            if state == Some(crate::ResourceState::Live) {
                self.shared.insert(resource);
            }
            self.pool.credit_changed(resource, self.now, capacity);
        }
    }

    pub(super) fn retire(&mut self, step: Step) {
        if let Some(resource) = self.some_socket(step) {
            self.inputs.note("retire");
            self.pool.retire(resource, CloseReason::AddressGone);
        }
    }

    pub(super) fn from_outside(&mut self, step: Step) {
        match step.a % 5 {
            0 => {
                self.inputs.note("reclaim_oldest_idle");
                let oldest = self.pool.oldest_idle();
                assert_eq!(self.pool.reclaim_oldest_idle(), oldest.is_some());
            }
            1 => {
                self.inputs.note("warm");
                self.pool.warm(usize::from(step.b % 4));
            }
            2 => {
                self.inputs.note("expect_leases");
                let leases = one_or_more(usize::from(step.b % 3));
                self.pool.expect_leases(self.now, leases);
            }
            3 if self.opening > 0 => {
                self.inputs.note("open_abandoned");
                self.opening -= 1;
                self.pool.open_abandoned(self.now);
                if let BackingOff::Probing { started, .. } = &mut self.back_off {
                    *started = false;
                }
            }
            _ => {
                self.inputs.note("retire_idle_until");
                let until = self.now - MILLI * 50;
                self.pool.retire_idle_until(until, CloseReason::Idle);
                let oldest = self.pool.oldest_idle();
                assert!(oldest.is_none_or(|since| since > until), "all of them");
            }
        }
    }

    pub(super) fn rarely(&mut self, step: Step) {
        match step.a % 16 {
            0 => {
                self.inputs.note("drain");
                self.pool.drain(self.now);
                self.drained = true;
                self.back_off = BackingOff::Normal { failures: 0 };
            }
            1..=4 => {
                self.inputs.note("reconfigure");
                let max = one_or_more(usize::from(step.b % 5));
                let idle = usize::from(step.b % 4);
                self.config = self
                    .config
                    .clone()
                    .max_connections_per_origin(max)
                    .max_idle_per_origin(idle);
                self.pool.reconfigure(self.now, self.config.clone());
                self.excess = self.occupied().saturating_sub(max.get());
            }
            _ => {
                if let Some(at) = step.pick(self.held.len()) {
                    self.inputs.note("lease_ending");
                    self.pool.lease_ending(self.held[at], self.now);
                }
            }
        }
    }
}
