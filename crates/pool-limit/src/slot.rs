//! The places of one key, and who holds them. No Tower in here.

use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;
use tollgate_admission::{
    Admission, Demand, Effects, Gate, GateConfig, GateStats, Granted, Locked, Refusal, Ticket,
};
use tollgate_core::{BoxError, Event, Observer, Origin, RefuseReason};

use crate::error::refused;

/// What all keys of one limit share.
#[derive(Default)]
pub(crate) struct Common {
    pub(crate) observer: Option<Arc<dyn Observer>>,
    freed: Arc<Notify>,
    /// How many listen to `freed`, so that a release with no listener touches nothing shared.
    watchers: AtomicUsize,
}

impl Common {
    pub(crate) fn new(observer: Option<Arc<dyn Observer>>) -> Arc<Self> {
        Arc::new(Self {
            observer,
            ..Self::default()
        })
    }

    /// From here on every release is noticed: look at the gauges *after* this.
    pub(crate) fn watch(self: &Arc<Self>) -> Watcher {
        self.watchers.fetch_add(1, Ordering::SeqCst);
        let mut freed = Box::pin(Arc::clone(&self.freed).notified_owned());
        freed.as_mut().enable();
        Watcher {
            common: Arc::clone(self),
            freed,
        }
    }

    /// A limit was raised, or closed.
    pub(crate) fn changed(&self) {
        self.place_freed();
    }

    fn place_freed(&self) {
        // A watcher that still saw the place taken has locked the gate before the release did, and
        // counted itself before that.
        if self.watchers.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    fn emit(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            observer.on_event(event);
        }
    }
}

/// Is woken when a place falls free anywhere, and holds none.
pub(crate) struct Watcher {
    common: Arc<Common>,
    freed: Pin<Box<OwnedNotified>>,
}

impl Future for Watcher {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.freed.as_mut().poll(cx)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.common.watchers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The origin under which requests that do not say where they go are reported to an observer.
pub const UNKNOWN_ORIGIN: &str = "unknown://unknown";

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
        let (admission, effects) = self.gate.with(|gate| {
            let admission = gate.demand(now, Demand::new());
            let deadline = match &admission {
                Admission::Queued(ticket) => gate.deadline(*ticket),
                _ => None,
            };
            (admission, deadline, gate.stats().queued)
        });
        drop(effects);
        match admission {
            (Admission::Granted(granted), ..) => {
                Admitted::Granted(self.granted(watch, granted, Duration::ZERO))
            }
            (Admission::Queued(ticket), deadline, queued) => {
                let waiter = Waiter {
                    slot: Arc::clone(self),
                    ticket: Some(ticket),
                    since: now,
                    deadline,
                    watch,
                };
                if let Some(origin) = &waiter.watch {
                    let ahead = queued.saturating_sub(1);
                    self.common.emit(&Event::Queued { origin, ahead });
                }
                Admitted::Waiting(waiter)
            }
            (Admission::Refused(refusal), ..) => {
                self.refused(watch.as_ref(), refusal.reason, Duration::ZERO);
                Admitted::Refused(refusal)
            }
        }
    }

    /// A place that the gate has just handed out becomes a value, before anybody hears of it.
    fn granted(
        self: &Arc<Self>,
        watch: Option<Origin>,
        granted: Granted,
        at_least: Duration,
    ) -> PoolLimitPermit {
        let permit = PoolLimitPermit {
            slot: Arc::clone(self),
            watch: watch.map(|origin| (origin, Instant::now())),
        };
        if let Some((origin, _)) = &permit.watch {
            self.common.emit(&Event::Granted {
                origin,
                waited: granted.waited.max(at_least),
                reused: true,
            });
        }
        permit
    }

    fn refused(&self, watch: Option<&Origin>, reason: RefuseReason, waited: Duration) {
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
        let now = Instant::now();
        let (answer, effects) = self
            .slot
            .gate
            .with(|gate| gate.poll(ticket, now, cx.waker()));
        if answer.is_ready() {
            self.ticket = None;
        }
        // The permit is made before wakers run, which may panic.
        let answer = answer.map(|answer| match answer {
            Ok(granted) => Ok(self.slot.granted(self.watch.take(), granted, QUEUED)),
            Err(refusal) => {
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
        self.slot.common.place_freed();
        if let Some(origin) = &self.watch {
            let waited = self.since.elapsed().max(QUEUED);
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

impl Drop for PoolLimitPermit {
    fn drop(&mut self) {
        drop(self.slot.change(Gate::release));
        self.slot.common.place_freed();
        if let Some((origin, since)) = &self.watch {
            let held = since.elapsed();
            quietly(|| self.slot.common.emit(&Event::Released { origin, held }));
        }
    }
}

impl fmt::Debug for PoolLimitPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolLimitPermit").finish_non_exhaustive()
    }
}

/// In a drop during a panic, a second panic of an observer would abort the process.
fn quietly(emit: impl FnOnce()) {
    if std::thread::panicking() {
        drop(catch_unwind(AssertUnwindSafe(emit)));
    } else {
        emit();
    }
}

/// The origin that requests without one have in events.
fn unknown_origin() -> Origin {
    static UNKNOWN: OnceLock<Origin> = OnceLock::new();
    UNKNOWN
        .get_or_init(|| Origin::from_uri(&Uri::from_static(UNKNOWN_ORIGIN)).expect("an origin"))
        .clone()
}
