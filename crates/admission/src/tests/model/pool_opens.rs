//! The inputs that have to do with opens, and A7 as the model has it.

use std::time::Duration;

use tollgate_core::RefuseReason;

use super::Step;
use super::pool::{BackingOff, World};
use super::pool_steps::one_or_more;
use crate::queue::Peek;

const MILLI: Duration = Duration::from_millis(1);

impl World {
    pub(super) fn start_open(&mut self) {
        self.inputs.note("start_open");
        self.pause_may_be_over();
        let (wanted, spare) = (self.pool.wants_open(self.now), self.pool.spare());
        let started = self.pool.start_open(self.now);
        assert!(wanted || !started, "what was not wanted is not started");
        if !started {
            return;
        }
        // Those left in the queue are those it may be started for.
        let waiting = self.pool.line();
        assert!(
            waiting.iter().all(|t| !self.is_over(*t)),
            "A6: not dialled for"
        );
        assert!(
            self.opening < self.asking() || self.pool.spare() < spare,
            "A2: for who waits, or one of the spare"
        );
        assert!(self.opening < self.config.max_connecting_per_origin.get());
        assert!(!self.pauses() && !self.drained);
        if let BackingOff::Probing { started, .. } = &mut self.back_off {
            assert!(!*started, "A7: one probe");
            *started = true;
        }
        self.opening += 1;
    }

    pub(super) fn opened(&mut self, step: Step) {
        if self.opening == 0 {
            return;
        }
        self.inputs.note("opened");
        self.opening -= 1;
        let capacity = if step.a % 8 == 0 { 3 } else { 1 };
        let id = self.pool.opened(self.now, one_or_more(capacity));
        self.sockets.insert(id, false);
        if capacity > 1 {
            self.shared.insert(id);
        }
        self.back_off = BackingOff::Normal { failures: 0 };
    }

    pub(super) fn open_failed(&mut self) {
        if self.opening == 0 {
            return;
        }
        self.inputs.note("open_failed");
        self.opening -= 1;
        self.errors += 1;
        self.pause_may_be_over();
        let live: Vec<_> = self
            .line
            .iter()
            .filter(|t| !self.is_over(**t))
            .copied()
            .collect();
        let live_ones = |each: &crate::ResourceInfo| each.state == crate::ResourceState::Live;
        let hope = self.opening > 0 || self.pool.resources().any(|each| live_ones(&each));
        let pauses = self.count_failure(!hope && !self.drained);
        self.pool.open_failed(self.now, self.errors);
        let failed = |t: &&_| self.pool.peek(**t) == Some(Peek::Refused(RefuseReason::Connect));
        let failed = live.iter().filter(failed).count();
        if pauses {
            assert_eq!(failed, live.len(), "A7: all fail");
        } else if hope || self.pauses() {
            assert_eq!(
                failed, 0,
                "A14: none fails beside what serves or is on its way"
            );
        } else {
            assert_eq!(failed, live.len().min(1), "A7: one fails");
            let first = live.first().map(|t| self.pool.peek(*t));
            assert!(first.is_none_or(|p| p == Some(Peek::Refused(RefuseReason::Connect))));
        }
    }

    /// No local port or descriptor was left.
    pub(super) fn open_blocked(&mut self) {
        if self.opening == 0 {
            return;
        }
        self.inputs.note("open_blocked");
        self.opening -= 1;
        self.errors += 1;
        self.pause_may_be_over();
        if let BackingOff::Probing { started, .. } = &mut self.back_off {
            *started = false;
        }
        let waiting = self.pool.line();
        self.pool.open_blocked(self.now, self.errors);
        assert_eq!(self.pool.line(), waiting, "A14: a local cause fails none");
        assert!(!self.pool.wants_open(self.now), "A14: it pauses opening");
    }

    pub(super) fn count_failure(&mut self, alone: bool) -> bool {
        let after = self.config.back_off.after.get();
        let doublings = match &mut self.back_off {
            BackingOff::Normal { failures } => {
                *failures += 1;
                if !alone || *failures < after {
                    return false;
                }
                0
            }
            BackingOff::Until { .. } | BackingOff::Probing { started: false, .. } => return false,
            BackingOff::Probing { .. } if !alone => return false,
            BackingOff::Probing { doublings, .. } => *doublings + 1,
        };
        let pause = (MILLI * 50 * (1 << doublings.min(10))).min(MILLI * 1_000);
        let at = self.now + pause;
        self.back_off = BackingOff::Until { at, doublings };
        true
    }

    pub(super) fn pauses(&self) -> bool {
        matches!(self.back_off, BackingOff::Until { at, .. } if at > self.now)
    }

    pub(super) fn pause_may_be_over(&mut self) {
        if let BackingOff::Until { at, doublings } = self.back_off
            && at <= self.now
        {
            self.back_off = BackingOff::Probing {
                started: false,
                doublings,
            };
        }
    }
}
