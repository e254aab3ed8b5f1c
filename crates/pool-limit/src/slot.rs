//! The places of one key. No Tower in here.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{
    Admission, Demand, Effects, Gate, GateConfig, GateStats, Granted, Locked, Refusal, Ticket,
};
use tollgate_core::{BoxError, Event, Origin, QueueOrder, RefuseReason};

use crate::common::{Common, unknown_origin};
use crate::error::PoolLimitError;
use crate::waiter::{PoolLimitPermit, Waiter};

/// The places of one key.
#[expect(unnameable_types, reason = "it shows only in a sealed trait")]
pub struct Slot {
    gate: Locked<Gate>,
    common: Arc<Common>,
    /// The key, if it is an origin.
    origin: Option<Origin>,
    /// The order that the observer knows of is newest first.
    told_newest: AtomicBool,
}

/// The answer to a ticket.
type Answer = Result<Granted, Refusal<Infallible>>;

/// When to ask again for an answer that is pending.
pub(crate) struct LookAgain {
    /// Its time is up.
    pub(crate) deadline: Option<Instant>,
    /// A place that another has not collected may be free.
    pub(crate) lapse: Option<Instant>,
}

/// The answer to a request for a place.
pub(crate) enum Admitted {
    Granted(PoolLimitPermit),
    Waiting(Waiter),
    Refused(Refusal<Infallible>),
}

impl Slot {
    pub(crate) fn new(config: GateConfig, common: Arc<Common>, origin: Option<Origin>) -> Self {
        Self {
            gate: Locked::new(Gate::new(config)),
            common,
            origin,
            told_newest: AtomicBool::new(false),
        }
    }

    /// Returns the request's origin, by its key or else by the request itself.
    fn origin_of(&self, request: impl FnOnce() -> Option<Origin>) -> Option<Origin> {
        self.origin.clone().or_else(request)
    }

    pub(crate) const fn common(&self) -> &Arc<Common> {
        &self.common
    }

    pub(crate) fn error(
        &self,
        refusal: &Refusal<Infallible>,
        origin: impl FnOnce() -> Option<Origin>,
    ) -> BoxError {
        PoolLimitError::new(refusal, self.origin_of(origin), self.stats().limit).into()
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.gate.read(Gate::has_room)
    }

    pub(crate) fn stats(&self) -> GateStats {
        self.gate.read(Gate::stats)
    }

    /// Changes the gate. Waiters are woken when what it returns is dropped.
    pub(crate) fn change(&self, f: impl FnOnce(&mut Gate, Instant)) -> Option<Effects<Infallible>> {
        let now = Instant::now();
        let change = |gate: &mut Gate| {
            f(gate, now);
            gate.order()
        };
        let (order, effects) = self.gate.with(change);
        self.tell_order(order);
        effects
    }

    fn tell_order(&self, to: QueueOrder) {
        let newest = to == QueueOrder::Newest;
        if self.common.observer.is_none()
            // Looked at before it is swapped, as it seldom changes. And swapped: of two threads
            // that see a change one reports it.
            || self.told_newest.load(Ordering::Relaxed) == newest
            || self.told_newest.swap(newest, Ordering::Relaxed) == newest
        {
            return;
        }
        let from = if newest {
            QueueOrder::Fifo
        } else {
            QueueOrder::Newest
        };
        let origin = self.origin_of(|| None).unwrap_or_else(unknown_origin);
        let event = Event::OrderChanged {
            origin: &origin,
            from,
            to,
        };
        self.common.emit(&event);
    }

    /// Asks for a place; `origin` names the request in events where the key does not.
    pub(crate) fn admit(
        self: &Arc<Self>,
        demand: impl FnOnce(Instant) -> Demand,
        origin: impl FnOnce() -> Option<Origin>,
    ) -> Admitted {
        let named = || self.origin_of(origin).unwrap_or_else(unknown_origin);
        let watch = self.common.observer.is_some().then(named);
        let now = Instant::now();
        let demand = demand(now);
        let ((admission, queued), effects) = self.gate.with(|gate| {
            let admission = gate.demand(now, demand);
            (admission, gate.stats().queued)
        });
        // What was handed out becomes a value before wakers run, which may panic.
        let admitted = match admission {
            Admission::Granted(granted) => {
                Admitted::Granted(self.granted(now, watch, granted, Duration::ZERO))
            }
            Admission::Queued(ticket) => {
                let waiter = Waiter::new(Arc::clone(self), ticket, now, watch);
                waiter.queued(queued.saturating_sub(1));
                Admitted::Waiting(waiter)
            }
            Admission::Refused(refusal) => {
                self.refused(watch.as_ref(), refusal.reason, Duration::ZERO);
                Admitted::Refused(refusal)
            }
        };
        drop(effects);
        admitted
    }

    /// Asks for the answer to a ticket.
    pub(crate) fn poll(
        &self,
        now: Instant,
        ticket: Ticket,
        cx: &mut Context<'_>,
    ) -> ((Poll<Answer>, LookAgain), impl Sized + use<>) {
        let ((answer, again, has_room), effects) = self.gate.with(|gate| {
            let answer = gate.poll(ticket, now, cx.waker());
            // In the same turn: with the lock open the ticket may have been served, and have none.
            let again = LookAgain {
                deadline: gate.deadline(ticket),
                lapse: gate.next_lapse(now),
            };
            (answer, again, gate.has_room())
        });
        if has_room {
            // Of more places that lapsed than wait for one those learn that are not in the line.
            self.common.changed();
        }
        ((answer, again), effects)
    }

    /// A place that the gate has just handed out becomes a value, before anybody hears of it.
    pub(crate) fn granted(
        self: &Arc<Self>,
        now: Instant,
        watch: Option<Origin>,
        granted: Granted,
        at_least: Duration,
    ) -> PoolLimitPermit {
        let permit = PoolLimitPermit::new(Arc::clone(self), now, granted.waited, watch);
        permit.granted(granted.waited.max(at_least));
        permit
    }

    pub(crate) fn refused(&self, watch: Option<&Origin>, reason: RefuseReason, waited: Duration) {
        if let Some(origin) = watch {
            self.common.emit(&Event::Refused {
                origin,
                reason,
                waited,
                dial: Duration::ZERO,
            });
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("stats", &self.stats())
            .finish()
    }
}
