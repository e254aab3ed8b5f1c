//! Who waits for a place, and who holds one. No Tower in here.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{Gate, Refusal, Ticket};
use tollgate_core::{Event, Origin, RefuseReason, wait};

use crate::common::quietly;
use crate::slot::Slot;

/// What counts as the shortest wait: events tell by it who was queued at all.
const QUEUED: Duration = Duration::from_nanos(1);

/// A place in the queue. Dropping it gives it up, or hands on what was reserved for it.
pub(crate) struct Waiter {
    slot: Arc<Slot>,
    ticket: Option<Ticket>,
    since: Instant,
    deadline: Option<Instant>,
    watch: Option<Origin>,
}

impl Waiter {
    pub(crate) const fn new(
        slot: Arc<Slot>,
        ticket: Ticket,
        since: Instant,
        deadline: Option<Instant>,
        watch: Option<Origin>,
    ) -> Self {
        Self {
            slot,
            ticket: Some(ticket),
            since,
            deadline,
            watch,
        }
    }

    pub(crate) fn queued(&self, ahead: usize) {
        if let Some(origin) = &self.watch {
            self.slot.common().emit(&Event::Queued { origin, ahead });
        }
    }

    /// When to poll again if nothing wakes it before.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<PoolLimitPermit, Refusal<Infallible>>> {
        let Some(ticket) = self.ticket else {
            return Poll::Pending;
        };
        let (answer, effects) = self.slot.poll(ticket, cx);
        if answer.is_ready() {
            self.ticket = None;
        }
        // The permit is made before wakers run, which may panic.
        let answer = answer.map(|answer| match answer {
            Ok(granted) => {
                wait::add(granted.waited);
                Ok(self.slot.granted(self.watch.take(), granted, QUEUED))
            }
            Err(refusal) => {
                wait::add(refusal.waited);
                let waited = refusal.waited.max(QUEUED);
                self.slot
                    .refused(self.watch.as_ref(), refusal.reason, waited);
                Err(refusal)
            }
        });
        drop(effects);
        answer
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        drop(self.slot.change(|gate, now| gate.cancel(ticket, now)));
        self.slot.common().changed();
        let waited = self.since.elapsed();
        wait::add(waited);
        if let Some(origin) = &self.watch {
            let waited = waited.max(QUEUED);
            let reason = RefuseReason::Cancelled;
            quietly(|| self.slot.refused(Some(origin), reason, waited));
        }
    }
}

/// One place in flight: dropping it gives it back.
///
/// Whoever writes a [`PermitUntil`](crate::PermitUntil) for a response type of their own puts it
/// where it lives as long as the exchange.
#[must_use = "dropping it gives the place back"]
pub struct PoolLimitPermit {
    slot: Arc<Slot>,
    watch: Option<(Origin, Instant)>,
}

impl PoolLimitPermit {
    pub(crate) fn new(slot: Arc<Slot>, watch: Option<Origin>) -> Self {
        Self {
            slot,
            watch: watch.map(|origin| (origin, Instant::now())),
        }
    }

    pub(crate) fn granted(&self, waited: Duration) {
        if let Some((origin, _)) = &self.watch {
            let reused = true;
            self.slot.common().emit(&Event::Granted {
                origin,
                waited,
                reused,
            });
        }
    }
}

impl Drop for PoolLimitPermit {
    fn drop(&mut self) {
        drop(self.slot.change(Gate::release));
        self.slot.common().changed();
        if let Some((origin, since)) = &self.watch {
            let held = since.elapsed();
            quietly(|| self.slot.common().emit(&Event::Released { origin, held }));
        }
    }
}

impl fmt::Debug for PoolLimitPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolLimitPermit").finish_non_exhaustive()
    }
}
