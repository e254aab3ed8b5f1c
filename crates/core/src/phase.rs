//! How a connector that is still pending tells the layer above which phase it is in.
//!
//! A connector's future says nothing until it is ready, and a timeout strikes exactly when it is
//! not. So the layer that keeps the time makes a [`PhaseSlot`] for each call and polls the connector
//! inside [`scope`]; whatever runs below writes into it with [`enter`], [`start_attempt`] and
//! [`end_attempt`], which do nothing when nobody listens. The slot is found through a thread-local
//! that is set only for the length of one poll, so it needs no parameter through foreign layers and
//! cannot leak into another task.
//!
//! Scopes nest. A layer that keeps time below another one that does makes its slot with
//! [`PhaseSlot::nested`], and what is reported below reaches both. In the other direction, a layer
//! with a budget says with [`leave_remaining`] what it did not use, for whatever is left to do
//! above, such as the HTTP/2 preface.

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
pub struct PhaseSlot(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    outer: Option<PhaseSlot>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    attempts: Vec<Attempt>,
    remaining: Option<Duration>,
}

impl Default for PhaseSlot {
    fn default() -> Self {
        Self::new()
    }
}

impl PhaseSlot {
    /// A slot in [`Phase::Connect`] without attempts.
    pub fn new() -> Self {
        Self::within(None)
    }

    /// A slot of its own that passes every report on to the slot whose [`scope`] this runs in, if
    /// there is one.
    pub fn nested() -> Self {
        Self::within(current())
    }

    fn within(outer: Option<Self>) -> Self {
        let state = Mutex::new(State {
            phase: Phase::Connect,
            attempts: Vec::new(),
            remaining: None,
        });
        Self(Arc::new(Inner { state, outer }))
    }

    /// The phase last entered.
    pub fn phase(&self) -> Phase {
        self.locked().phase
    }

    /// The attempts reported so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.locked().attempts.clone()
    }

    /// What a budget below had left at the moment its connector succeeded; `None` if there is no
    /// budget below, or it has not succeeded.
    ///
    /// It counts from that moment, so it is to be read in the poll that brought the connection.
    pub fn remaining(&self) -> Option<Duration> {
        self.locked().remaining
    }

    /// Applies a report here and in every slot around this one.
    fn report(&self, apply: impl Fn(&mut State)) {
        let mut slot = Some(self);
        while let Some(at) = slot {
            apply(&mut at.locked());
            slot = at.0.outer.as_ref();
        }
    }

    /// The lock guards plain values only, so what a panicking thread left is whole.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        slot.report(|state| state.phase = phase);
    }
}

/// Reports that an attempt at `addr` begins, `after` the start of the dial.
pub fn start_attempt(addr: SocketAddr, after: Duration) {
    if let Some(slot) = current() {
        slot.report(|state| state.attempts.push(Attempt::started(addr, after)));
    }
}

/// Reports how the pending attempt at `addr` ended.
pub fn end_attempt(addr: SocketAddr, outcome: AttemptOutcome) {
    let pending = |a: &&mut Attempt| a.addr == addr && a.outcome == AttemptOutcome::Pending;
    if let Some(slot) = current() {
        slot.report(|state| {
            if let Some(attempt) = state.attempts.iter_mut().find(pending) {
                attempt.outcome = outcome;
            }
        });
    }
}

/// Leaves what is left of a budget to whatever is still to be done above.
///
/// The layer that keeps the budget calls it when its connector has succeeded, outside its own
/// [`scope`]. Where budgets nest, the one further out reports last, and that is what stays.
pub fn leave_remaining(remaining: Duration) {
    if let Some(slot) = current() {
        slot.report(|state| state.remaining = Some(remaining));
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
    fn a_nested_slot_passes_reports_on_and_starts_anew() {
        let (outer, addr) = (PhaseSlot::new(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let again = scope(&outer, || {
            let first = PhaseSlot::nested();
            scope(&first, || {
                enter(Phase::Tls);
                start_attempt(addr, Duration::ZERO);
                end_attempt(addr, AttemptOutcome::Connected);
            });
            PhaseSlot::nested()
        });
        assert_eq!(outer.phase(), Phase::Tls);
        assert_eq!(outer.attempts()[0].outcome, AttemptOutcome::Connected);
        assert_eq!(again.phase(), Phase::Connect);
        assert!(again.attempts().is_empty());
    }

    #[test]
    fn what_is_left_of_the_outermost_budget_stays() {
        let outer = PhaseSlot::new();
        assert_eq!(outer.remaining(), None);
        scope(&outer, || {
            let slot = PhaseSlot::nested();
            scope(&slot, || leave_remaining(Duration::from_secs(3)));
            leave_remaining(Duration::from_secs(2));
            assert_eq!(slot.remaining(), Some(Duration::from_secs(3)));
        });
        assert_eq!(outer.remaining(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn without_a_scope_a_report_goes_nowhere() {
        enter(Phase::Tcp);
        assert!(current().is_none());
    }
}
