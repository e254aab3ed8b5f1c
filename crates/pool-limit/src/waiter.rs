//! Who waits for a place, and who holds one. No Tower in here.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{Gate, Refusal, Ticket};
use tollgate_core::{Event, ExchangeEnd, Origin, RefuseReason, Timer, wait};

use crate::slot::{LookAgain, Slot};

/// The shortest wait in an event: zero means never queued.
const QUEUED: Duration = Duration::from_nanos(1);

/// A place in the queue. Dropping it gives it up, or hands on what was reserved for it.
pub(crate) struct Waiter {
    slot: Arc<Slot>,
    ticket: Option<Ticket>,
    since: Instant,
    watch: Option<Origin>,
    timer: Timer,
}

impl Waiter {
    pub(crate) const fn new(
        slot: Arc<Slot>,
        ticket: Ticket,
        since: Instant,
        watch: Option<Origin>,
    ) -> Self {
        Self {
            slot,
            ticket: Some(ticket),
            since,
            watch,
            timer: Timer::new(),
        }
    }

    pub(crate) fn queued(&self, ahead: usize) {
        if let Some(origin) = &self.watch {
            self.slot.common().emit(&Event::Queued { origin, ahead });
        }
    }

    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<PoolLimitPermit, Refusal<Infallible>>> {
        let Some(ticket) = self.ticket else {
            return Poll::Pending;
        };
        loop {
            let (answer, again) = self.ask(ticket, cx);
            if answer.is_ready() {
                return answer;
            }
            // Then the queue is asked once more, which answers, or names a later time: a place that fell
            // free in the same moment wins.
            ready!(self.poll_timer(&again, cx));
        }
    }

    fn poll_timer(&mut self, again: &LookAgain, cx: &mut Context<'_>) -> Poll<()> {
        if again.deadline.is_none() && !self.timer.is_here() {
            // One that waits for ever needs no timers, and waits on a runtime that has none.
            let Some(timer) = again.lapse.and_then(Timer::try_at) else {
                return Poll::Pending;
            };
            self.timer = timer;
        }
        let earliest = [again.deadline, again.lapse].into_iter().flatten().min();
        match earliest {
            Some(at) => self.timer.poll_until(at, cx),
            None => Poll::Pending,
        }
    }

    fn ask(
        &mut self,
        ticket: Ticket,
        cx: &mut Context<'_>,
    ) -> (
        Poll<Result<PoolLimitPermit, Refusal<Infallible>>>,
        LookAgain,
    ) {
        let now = Instant::now();
        let ((answer, again), effects) = self.slot.poll(now, ticket, cx);
        if answer.is_ready() {
            // Spent: the drop would report the wait a second time.
            self.ticket = None;
        }
        // The permit is made before wakers run, which may panic.
        let answer = answer.map(|answer| match answer {
            Ok(granted) => {
                wait::add(granted.waited);
                Ok(self.slot.granted(now, self.watch.take(), granted, QUEUED))
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
        (answer, again)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let mut reason = RefuseReason::Cancelled;
        drop(
            self.slot
                .change(|gate, now| reason = gate.cancel(ticket, now).reason),
        );
        // Its place may have been reserved, and be free now.
        self.slot.common().changed();
        let waited = self.since.elapsed();
        wait::add(waited);
        if let Some(origin) = &self.watch {
            let waited = waited.max(QUEUED);
            self.slot.refused(Some(origin), reason, waited);
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
    granted_at: Instant,
    waited: Duration,
    watch: Option<Origin>,
    exchange: Exchange,
}

/// How far the exchange of a permit has come: what the queue learns from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// Its answer is awaited: if the permit is dropped now, the caller has left.
    Awaited,
    /// It came to its end.
    Whole,
    /// It broke: its length says nothing.
    Broken,
}

impl Exchange {
    const fn end(self) -> ExchangeEnd {
        match self {
            Self::Awaited => ExchangeEnd::Left,
            Self::Whole => ExchangeEnd::Whole,
            Self::Broken => ExchangeEnd::Broken,
        }
    }
}

impl PoolLimitPermit {
    pub(crate) const fn new(
        slot: Arc<Slot>,
        granted_at: Instant,
        waited: Duration,
        watch: Option<Origin>,
    ) -> Self {
        Self {
            slot,
            granted_at,
            waited,
            watch,
            exchange: Exchange::Broken,
        }
    }

    /// The exchange is this far from here on.
    pub(crate) const fn set(&mut self, exchange: Exchange) {
        self.exchange = exchange;
    }

    pub(crate) fn granted(&self, waited: Duration) {
        if let Some(origin) = &self.watch {
            let reused = true;
            self.slot.common().emit(&Event::Granted {
                origin,
                waited,
                dial: Duration::ZERO,
                reused,
            });
        }
    }
}

impl Drop for PoolLimitPermit {
    fn drop(&mut self) {
        let Self {
            granted_at,
            waited,
            exchange,
            ..
        } = *self;
        let change = |gate: &mut Gate, now: Instant| {
            let held = now.saturating_duration_since(granted_at);
            match exchange {
                // Before the release, which may grant the next: what this one teaches counts for
                // that.
                Exchange::Awaited => gate.abandoned(now, waited, held),
                Exchange::Whole => gate.used(now, held),
                Exchange::Broken => {}
            }
            gate.release(now);
        };
        drop(self.slot.change(change));
        // After the gate: who watches looks at the gauges, and finds the place free.
        self.slot.common().changed();
        if let Some(origin) = &self.watch {
            let held = granted_at.elapsed();
            let end = exchange.end();
            let event = Event::Released { origin, held, end };
            self.slot.common().emit(&event);
        }
    }
}

impl fmt::Debug for PoolLimitPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolLimitPermit").finish_non_exhaustive()
    }
}
