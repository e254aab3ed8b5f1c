//! The places of one key. No Tower in here.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{
    Admission, Demand, Effects, Gate, GateConfig, GateStats, Granted, Locked, Refusal, Ticket,
};
use tollgate_core::{BoxError, Event, Origin, RefuseReason};

use crate::common::{Common, unknown_origin};
use crate::error::refused;
use crate::waiter::{PoolLimitPermit, Waiter};

/// The places of one key.
#[expect(unnameable_types, reason = "it shows only in a sealed trait")]
pub struct Slot {
    gate: Locked<Gate>,
    common: Arc<Common>,
    /// The key, if it is an origin.
    origin: Option<Origin>,
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
        }
    }

    /// Where a request goes, as the key or else the request itself says.
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
        refused(refusal, self.origin_of(origin), self.stats().limit)
    }

    pub(crate) fn is_full(&self) -> bool {
        let stats = self.stats();
        stats.in_flight >= stats.limit
    }

    pub(crate) fn stats(&self) -> GateStats {
        self.gate.read(Gate::stats)
    }

    /// Changes the gate. Waiters are woken when what it returns is dropped.
    pub(crate) fn change(&self, f: impl FnOnce(&mut Gate, Instant)) -> Option<Effects<Infallible>> {
        let now = Instant::now();
        self.gate.with(|gate| f(gate, now)).1
    }

    /// Asks for a place; `origin` names the request in events where the key does not.
    pub(crate) fn admit(self: &Arc<Self>, origin: impl FnOnce() -> Option<Origin>) -> Admitted {
        let named = || self.origin_of(origin).unwrap_or_else(unknown_origin);
        let watch = self.common.observer.is_some().then(named);
        let now = Instant::now();
        let ((admission, deadline, queued), effects) = self.gate.with(|gate| {
            let admission = gate.demand(now, Demand::new());
            let deadline = match &admission {
                Admission::Queued(ticket) => gate.deadline(*ticket),
                _ => None,
            };
            (admission, deadline, gate.stats().queued)
        });
        // What was handed out becomes a value before wakers run, which may panic.
        let admitted = match admission {
            Admission::Granted(granted) => {
                Admitted::Granted(self.granted(watch, granted, Duration::ZERO))
            }
            Admission::Queued(ticket) => {
                let waiter = Waiter::new(Arc::clone(self), ticket, now, deadline, watch);
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
        ticket: Ticket,
        cx: &mut Context<'_>,
    ) -> (
        Poll<Result<Granted, Refusal<Infallible>>>,
        impl Sized + use<>,
    ) {
        let now = Instant::now();
        self.gate.with(|gate| gate.poll(ticket, now, cx.waker()))
    }

    /// A place that the gate has just handed out becomes a value, before anybody hears of it.
    pub(crate) fn granted(
        self: &Arc<Self>,
        watch: Option<Origin>,
        granted: Granted,
        at_least: Duration,
    ) -> PoolLimitPermit {
        let permit = PoolLimitPermit::new(Arc::clone(self), watch);
        permit.granted(granted.waited.max(at_least));
        permit
    }

    pub(crate) fn refused(&self, watch: Option<&Origin>, reason: RefuseReason, waited: Duration) {
        if let Some(origin) = watch {
            self.common.emit(&Event::Refused {
                origin,
                reason,
                waited,
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
