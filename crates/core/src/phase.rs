//! How a connector that is still pending tells the layer above which phase it is in.
//!
//! A connector's future says nothing until it is ready, and a timeout strikes exactly when it is
//! not. So the layer that keeps the time makes a [`PhaseSlot`] for each call and polls the connector
//! inside [`scope`]; whatever runs below writes into it with [`enter`], [`start_attempt`] and
//! [`end_attempt`], which do nothing when nobody listens. The slot is found through a thread-local
//! that is set only for the length of one poll, so it needs no parameter through foreign layers and
//! cannot leak into another task.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::dial_info::{Attempt, AttemptOutcome};

/// A phase of making a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Nothing below has said anything: a connector that does not report its phases.
    Connect,
    /// The name is being resolved.
    Dns,
    /// TCP attempts are under way.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// The protocol's own greeting, such as the HTTP/2 preface.
    Preface,
}

impl Phase {
    /// The phase's name in messages and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Preface => "preface",
        }
    }
}

/// Where one connect stands. Cloning shares it.
#[derive(Clone, Debug)]
pub struct PhaseSlot(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    phase: Phase,
    attempts: Vec<Attempt>,
}

impl Default for PhaseSlot {
    fn default() -> Self {
        Self::new()
    }
}

impl PhaseSlot {
    /// A slot in [`Phase::Connect`] without attempts.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            phase: Phase::Connect,
            attempts: Vec::new(),
        })))
    }

    /// The phase last entered.
    pub fn phase(&self) -> Phase {
        self.locked().phase
    }

    /// The attempts reported so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.locked().attempts.clone()
    }

    fn enter(&self, phase: Phase) {
        self.locked().phase = phase;
    }

    fn start_attempt(&self, attempt: Attempt) {
        self.locked().attempts.push(attempt);
    }

    fn end_attempt(&self, addr: SocketAddr, outcome: AttemptOutcome) {
        let mut state = self.locked();
        let pending = |a: &&mut Attempt| a.addr == addr && a.outcome == AttemptOutcome::Pending;
        if let Some(attempt) = state.attempts.iter_mut().find(pending) {
            attempt.outcome = outcome;
        }
    }

    /// The lock guards plain values only, so what a panicking thread left is whole.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<PhaseSlot>> = const { RefCell::new(None) };
}

/// Runs `poll` with `slot` as the one that reports go to, and puts back the outer one afterwards,
/// also when `poll` panics.
pub fn scope<R>(slot: &PhaseSlot, poll: impl FnOnce() -> R) -> R {
    struct Restore(Option<PhaseSlot>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(Some(slot.clone())));
    poll()
}

/// The slot whose [`scope`] this poll runs in.
pub fn current() -> Option<PhaseSlot> {
    CURRENT.with_borrow(Clone::clone)
}

/// Reports that `phase` begins.
pub fn enter(phase: Phase) {
    if let Some(slot) = current() {
        slot.enter(phase);
    }
}

/// Reports that an attempt at `addr` begins, `after` the start of the dial.
pub fn start_attempt(addr: SocketAddr, after: Duration) {
    if let Some(slot) = current() {
        slot.start_attempt(Attempt::started(addr, after));
    }
}

/// Reports how the pending attempt at `addr` ended.
pub fn end_attempt(addr: SocketAddr, outcome: AttemptOutcome) {
    if let Some(slot) = current() {
        slot.end_attempt(addr, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConnectErrorKind;

    #[test]
    fn reports_reach_the_innermost_scope_and_the_outer_one_comes_back() {
        let (outer, inner) = (PhaseSlot::new(), PhaseSlot::new());
        scope(&outer, || {
            scope(&inner, || enter(Phase::Tls));
            enter(Phase::Dns);
        });
        assert_eq!((outer.phase(), inner.phase()), (Phase::Dns, Phase::Tls));
        assert!(current().is_none());
    }

    #[test]
    fn a_panic_in_a_scope_does_not_leave_the_slot_behind() {
        let slot = PhaseSlot::new();
        let panicked = std::panic::catch_unwind(|| scope(&slot, || panic!("connector")));
        assert!(panicked.is_err());
        assert!(current().is_none());
    }

    #[test]
    fn attempts_are_listed_in_order_with_their_outcomes() {
        let slot = PhaseSlot::new();
        let [a, b] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let refused = AttemptOutcome::Failed(ConnectErrorKind::Refused);
        scope(&slot, || {
            start_attempt(a, Duration::ZERO);
            end_attempt(a, refused);
            start_attempt(b, Duration::from_millis(10));
        });
        let outcomes: Vec<_> = slot
            .attempts()
            .iter()
            .map(|a| (a.addr, a.outcome))
            .collect();
        assert_eq!(outcomes, [(a, refused), (b, AttemptOutcome::Pending)]);
    }

    #[test]
    fn without_a_scope_a_report_goes_nowhere() {
        enter(Phase::Tcp);
        assert!(current().is_none());
    }
}
