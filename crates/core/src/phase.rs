//! The slot between a pending connector and the layers above that keep its time: phases and attempts go
//! up, budgets go down.
//!
//! A connector's future shows nothing until it is ready, and a timeout strikes exactly when it is
//! not. So the layer that keeps the time makes a [`PhaseSlot`] for each call and polls the connector
//! inside [`scope`]; whatever runs below writes into it with [`enter`], [`start_attempt`] and
//! [`end_attempt`], which do nothing outside of a scope. The slot is found through a thread-local
//! that is set only for the length of one poll, so it needs no parameter through foreign layers and
//! cannot leak into another task.
//!
//! Scopes nest. A layer that keeps time below another one that does makes its slot with
//! [`PhaseSlot::nested`], and what is reported below reaches both. In the other direction, a layer
//! with a budget reports with [`leave_remaining`] what it did not use, for whatever is left to do
//! above, such as the HTTP/2 preface.
//!
//! Budgets go down the same way. A layer that keeps one reports before each poll how much of it is left,
//! with [`PhaseSlot::set_left`], and a connector that has to divide its time, as a dialler among
//! addresses, asks with [`left`] for the least of what the scopes around it allow. So does the wish for a
//! protocol: a pool whose peer requires HTTP/1.1 sets [`PhaseSlot::ask_for_http1`], and a TLS layer asks
//! with [`is_http1_asked_for`].
//!
//! A limit that is only a default gives way to a budget that is asked for, on either side: below, it
//! does not apply where [`left`] has an answer; above, its slot is [`giving_way`](PhaseSlot::giving_way)
//! to what a layer below reports with [`begin_budget`].

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::dial_info::{Attempt, AttemptOutcome};
use crate::lock::lock;

/// A phase of making a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// No phase was reported: a connector that does not report its phases.
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
    const COUNT: usize = 5;

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

    /// Returns the advice for a connect that ran out of time in this phase, for the error of every
    /// layer that keeps a clock.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Connect => "check what the connector waits for",
            Self::Dns => "check the name servers",
            Self::Tcp => "check the address and whether a firewall drops its packets",
            Self::Tls => "check that the port speaks TLS and that the peer is not overloaded",
            Self::Preface => "check that the peer speaks HTTP/2",
        }
    }
}

/// The progress of one connect, and the budget for it. Cloning shares it.
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
    /// Of the budget, as of the poll that runs.
    left: Option<Duration>,
    /// The limit above is only a default.
    gives_way: bool,
    /// The outermost budget below.
    budget_below: Option<Duration>,
    limits: [Option<Duration>; Phase::COUNT],
    http1: bool,
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
            left: None,
            gives_way: false,
            budget_below: None,
            limits: [None; Phase::COUNT],
            http1: false,
        });
        Self(Arc::new(Inner { state, outer }))
    }

    /// The same slot, for a limit that is only a default: what it reports as [left](Self::set_left)
    /// is no less than a budget that begins below.
    #[must_use]
    pub fn giving_way(self) -> Self {
        self.locked().gives_way = true;
        self
    }

    /// Returns the budget below, if a layer there has reported one with [`begin_budget`]: the outermost
    /// where they nest.
    pub fn budget_below(&self) -> Option<Duration> {
        self.locked().budget_below
    }

    /// The phase last entered.
    pub fn phase(&self) -> Phase {
        self.locked().phase
    }

    /// The attempts reported so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.locked().attempts.clone()
    }

    /// Returns the time that a budget below had left at the moment its connector succeeded; `None`
    /// if there is no budget below, or it has not succeeded.
    ///
    /// It counts from that moment, so it is to be read in the poll that brought the connection.
    pub fn remaining(&self) -> Option<Duration> {
        self.locked().remaining
    }

    /// Reports how much of the budget is left, to the code polled inside this slot's [`scope`].
    ///
    /// It does not run down by itself: to be set before each poll.
    pub fn set_left(&self, left: Duration) {
        self.locked().left = Some(left);
    }

    /// Reports how long one stay in `phase` may take, besides the budget; `None` for no limit.
    pub fn set_limit(&self, phase: Phase, limit: Option<Duration>) {
        self.locked().limits[phase as usize] = limit;
    }

    /// Asks the code polled inside this slot's [`scope`] for a connection that speaks HTTP/1.1: a TLS layer
    /// below is to offer `http/1.1` alone by ALPN. For an origin that requires it.
    pub fn ask_for_http1(&self) {
        self.locked().http1 = true;
    }

    /// Applies a report here and in every slot around this one.
    fn report(&self, apply: impl Fn(&mut State)) {
        let mut slot = Some(self);
        while let Some(at) = slot {
            // One at a time: the lock is open again before that of the slot around is taken.
            apply(&mut at.locked());
            slot = at.0.outer.as_ref();
        }
    }

    /// The lock guards plain values only, so what a panicking thread left is whole.
    fn locked(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
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
            // The inner slot is dropped inside the cell: its drop runs no code that looks in here.
            CURRENT.set(self.0.take());
        }
    }
    // By a destructor: after a panic in `poll` the slot would stay for the next task on this
    // thread.
    let _restore = Restore(CURRENT.replace(Some(slot.clone())));
    poll()
}

/// The slot whose [`scope`] this poll runs in.
pub fn current() -> Option<PhaseSlot> {
    // Cloned out: what follows may open a scope, which needs the cell.
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
            // The pending one: the same address may have an attempt that has ended.
            if let Some(attempt) = state.attempts.iter_mut().find(pending) {
                attempt.outcome = outcome;
            }
        });
    }
}

/// Returns how long a stay in `phase` that begins now may take: the least of what the budgets and the
/// limits of the [`scope`]s around this poll allow; `None` if there are none.
pub fn left(phase: Phase) -> Option<Duration> {
    let current = current();
    let mut slot = current.as_ref();
    let mut least: Option<Duration> = None;
    while let Some(at) = slot {
        let state = at.locked();
        for limit in [state.left, state.limits[phase as usize]]
            .into_iter()
            .flatten()
        {
            least = Some(least.map_or(limit, |least| least.min(limit)));
        }
        // Before the next slot's is taken: two of these locks are never held at once.
        drop(state);
        slot = at.0.outer.as_ref();
    }
    least
}

/// Returns true if a slot whose [`scope`] this poll runs in [asks for HTTP/1.1](PhaseSlot::ask_for_http1).
pub fn is_http1_asked_for() -> bool {
    let current = current();
    let mut slot = current.as_ref();
    while let Some(at) = slot {
        // Of any scope around: the pool that asks is further out than the layers that keep a
        // budget.
        if at.locked().http1 {
            return true;
        }
        slot = at.0.outer.as_ref();
    }
    false
}

/// Reports that a budget of `total` begins, to the slots around this poll.
///
/// The layer that keeps the budget calls it once, outside its own [`scope`], before it polls its
/// connector.
pub fn begin_budget(total: Duration) {
    if let Some(slot) = current() {
        slot.report(|state| {
            // The outermost begins first, and is the one that counts above.
            state.budget_below.get_or_insert(total);
            if state.gives_way {
                // Raised, never lowered: a limit that is only a default does not cut a budget that
                // was asked for.
                state.left = state.left.map(|left| left.max(total));
            }
        });
    }
}

/// Reports the rest of a budget, for the work that is still to be done above.
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
    fn reports_reach_only_the_innermost_scope() {
        let (outer, inner) = (PhaseSlot::new(), PhaseSlot::new());
        scope(&outer, || {
            scope(&inner, || enter(Phase::Tls));
            enter(Phase::Dns);
        });
        assert_eq!((outer.phase(), inner.phase()), (Phase::Dns, Phase::Tls));
        assert!(current().is_none());
    }

    #[test]
    fn a_panic_in_a_scope_unsets_its_slot() {
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
    fn a_nested_slot_reports_outward_and_starts_anew() {
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
    fn the_least_nested_budget_or_limit_counts() {
        let seconds = Duration::from_secs;
        let outer = PhaseSlot::new();
        outer.set_left(seconds(5));
        scope(&outer, || {
            let inner = PhaseSlot::nested();
            inner.set_limit(Phase::Tcp, Some(seconds(2)));
            scope(&inner, || {
                assert_eq!(left(Phase::Dns), Some(seconds(5)));
                assert_eq!(left(Phase::Tcp), Some(seconds(2)));
                outer.set_left(seconds(1));
                assert_eq!(left(Phase::Tcp), Some(seconds(1)));
            });
        });
        assert_eq!(left(Phase::Tcp), None);
    }

    #[test]
    fn a_wish_for_http1_reaches_nested_scopes() {
        let outer = PhaseSlot::new();
        scope(&outer, || {
            assert!(!is_http1_asked_for());
            outer.ask_for_http1();
            let inner = PhaseSlot::nested();
            scope(&inner, || assert!(is_http1_asked_for()));
        });
        assert!(!is_http1_asked_for());
    }

    #[test]
    fn a_default_limit_yields_to_inner_budgets() {
        let seconds = Duration::from_secs;
        for (gives_way, expected) in [(true, 30), (false, 10)] {
            let outer = PhaseSlot::new();
            let outer = if gives_way { outer.giving_way() } else { outer };
            outer.set_left(seconds(10));
            scope(&outer, || {
                begin_budget(seconds(30));
                begin_budget(seconds(5));
                assert_eq!(left(Phase::Tcp), Some(seconds(expected)));
            });
            assert_eq!(outer.budget_below(), Some(seconds(30)));
        }
    }

    #[test]
    fn without_a_scope_a_report_goes_nowhere() {
        enter(Phase::Tcp);
        assert!(current().is_none());
    }
}
