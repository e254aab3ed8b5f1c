//! What is counted of one origin.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tollgate_core::{
    CloseReason, ConnectErrorKind, DialInfo, ExchangeEnd, QueueOrder, RefuseReason,
};

use crate::advice::Totals;
use crate::calls::{Calls, Kind, Sizes};
use crate::counters::{Level, Queue, Tally, nanos};
use crate::histogram::Histogram;
use crate::limit::Limit;
use crate::load::Load;

/// The phases that dials are measured in, in the order of [`OriginSeries::phases`].
pub(crate) const PHASES: [&str; 4] = ["dns", "tcp", "tls", "total"];

#[derive(Debug)]
pub(crate) struct OriginSeries {
    pub(crate) queued: Queue,
    /// Those of them that have a dial of their own.
    pub(crate) dialling: Level,
    /// Times that the order turned to newest first.
    pub(crate) turns: AtomicU64,
    pub(crate) in_flight: Level,
    pub(crate) opening: Level,
    pub(crate) open: Level,
    pub(crate) draining: Level,
    pub(crate) limit: Limit,
    /// The streams that HTTP/2 connections carry, all together.
    pub(crate) streams: Level,
    /// About what each of them carried when there was one last.
    carried: AtomicU64,
    /// Grants of a connection that had served before, and of one that had not: every grant is one.
    pub(crate) reused: AtomicU64,
    pub(crate) fresh: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) refused: Tally<{ RefuseReason::ALL.len() }>,
    pub(crate) exchanges: Tally<{ ExchangeEnd::ALL.len() }>,
    pub(crate) closed: Tally<{ CloseReason::ALL.len() }>,
    pub(crate) connect_errors: Tally<{ ConnectErrorKind::ALL.len() }>,
    /// For capacity.
    pub(crate) waits: Histogram,
    /// For a dial of their own.
    pub(crate) dial_waits: Histogram,
    pub(crate) uses: Histogram,
    pub(crate) calls: Calls,
    /// `None` where no size was ever asked for: they would add a quarter to what an origin takes.
    pub(crate) sizes: OnceLock<Box<Sizes>>,
    pub(crate) lifetimes: Histogram,
    pub(crate) phases: [Histogram; PHASES.len()],
    pub(crate) load: Load,
    /// True if a number of connections was ever recommended: then its gauge is zero where
    /// there is nothing to go by any more.
    pub(crate) recommended: AtomicBool,
}

impl Default for OriginSeries {
    fn default() -> Self {
        Self {
            queued: Queue::default(),
            dialling: Level::default(),
            turns: AtomicU64::new(0),
            in_flight: Level::default(),
            opening: Level::default(),
            open: Level::default(),
            draining: Level::default(),
            limit: Limit::default(),
            streams: Level::default(),
            carried: AtomicU64::new(1),
            reused: AtomicU64::new(0),
            fresh: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            refused: Tally::default(),
            exchanges: Tally::default(),
            closed: Tally::default(),
            connect_errors: Tally::default(),
            waits: Histogram::of_waits(),
            dial_waits: Histogram::of_waits(),
            uses: Histogram::of_waits(),
            calls: Calls::of_durations(),
            sizes: OnceLock::new(),
            lifetimes: Histogram::of_lifetimes(),
            phases: std::array::from_fn(|_| Histogram::of_waits()),
            load: Load::default(),
            recommended: AtomicBool::new(false),
        }
    }
}

impl OriginSeries {
    pub(crate) fn granted(&self, waited: Duration, dial: Duration, reused: bool) {
        // Before it is off the queue: in between it is counted twice, and never not at all.
        let in_flight = self.in_flight.rise();
        if waited.is_zero() {
            self.load.found_room(in_flight.saturating_sub(1));
        }
        let counter = if reused { &self.reused } else { &self.fresh };
        counter.fetch_add(1, Relaxed);
        self.left_queue(waited);
        self.waited(waited, dial);
    }

    pub(crate) fn refused(&self, reason: RefuseReason, waited: Duration, dial: Duration) {
        // Before it is off the queue, as a grant is: the demands never add up to too few.
        self.refused.add(reason as usize);
        self.left_queue(waited);
        // Refused at once is no wait; it would hide the waits of the others.
        if !waited.is_zero() {
            self.waited(waited, dial);
        }
    }

    fn waited(&self, waited: Duration, dial: Duration) {
        self.waits.record(waited.saturating_sub(dial));
        if !dial.is_zero() {
            self.dial_waits.record(dial);
        }
    }

    pub(crate) fn order_changed(&self, to: QueueOrder) {
        let turns = u64::from(to == QueueOrder::Newest);
        self.turns.fetch_add(turns, Relaxed);
    }

    /// Zero means never queued: the contract of [`tollgate_core::Event`].
    fn left_queue(&self, waited: Duration) {
        if !waited.is_zero() {
            self.queued.leave();
        }
    }

    pub(crate) fn released(&self, held: Duration, end: ExchangeEnd) {
        let in_flight = self.in_flight.fall();
        self.exchanges.add(end as usize);
        // How long a caller stayed says nothing of how long the origin takes.
        if end == ExchangeEnd::Whole {
            self.load.ended(in_flight, held);
            self.uses.record(held);
        }
    }

    pub(crate) fn bodies_ended(&self, kind: Kind, sent: u64, received: Option<u64>) {
        let sizes = self.sizes.get_or_init(Box::default);
        sizes.sent.transferred(kind, sent);
        if let Some(received) = received {
            sizes.received.transferred(kind, received);
        }
    }

    pub(crate) fn connect_started(&self) {
        self.opening.rise();
    }

    pub(crate) fn opened(&self, dial: &DialInfo, elapsed: Duration) {
        self.opening.fall();
        self.open.rise();
        self.opened.fetch_add(1, Relaxed);
        let phases = [dial.dns, dial.connect, dial.tls, Some(elapsed)];
        for (phase, took) in self.phases.iter().zip(phases) {
            if let Some(took) = took {
                phase.record(took);
            }
        }
    }

    pub(crate) fn connect_failed(&self, kind: ConnectErrorKind) {
        self.opening.fall();
        self.connect_errors.add(kind as usize);
    }

    pub(crate) fn closed(&self, reason: CloseReason, age: Duration) {
        self.open.fall();
        self.closed.add(reason as usize);
        self.lifetimes.record(age);
    }

    /// Returns the number of requests a connection carries at once: the mean of those that are
    /// open, and 1 without any.
    pub(crate) fn each_carries(&self) -> u64 {
        let (streams, open) = (self.streams.get(), self.taking());
        if streams == 0 || open == 0 {
            return 1;
        }
        let each = streams.div_ceil(open);
        self.carried.store(each, Relaxed);
        each
    }

    /// The same, and without any what it was about when there was one: good enough for advice.
    pub(crate) fn each_carried(&self) -> u64 {
        match self.taking() {
            0 => self.carried.load(Relaxed),
            _ => self.each_carries(),
        }
    }

    /// Returns the totals until now, but for those that [`Load`] keeps itself.
    pub(crate) fn totals(&self) -> Totals {
        let uses = self.uses.distribution();
        let full = self.refused.get()[RefuseReason::QueueFull as usize];
        Totals {
            // Who waits has come and is not among the waits yet; who finds no room to wait never is.
            arrivals: self.waits.distribution().count + self.queued.len() + full,
            granted: self.reused.load(Relaxed) + self.fresh.load(Relaxed),
            uses: uses.count,
            use_nanos: nanos(uses.sum),
            ..Totals::default()
        }
    }

    /// Active and idle connections, which are the open ones: exact where a connection serves one
    /// request at a time, an upper bound of the active ones for HTTP/2.
    pub(crate) fn active_and_idle(&self) -> (u64, u64) {
        let open = self.taking();
        let active = self.in_flight.get().min(open);
        (active, open - active)
    }

    /// Connections that take requests: those that drain do not.
    fn taking(&self) -> u64 {
        self.open.get().saturating_sub(self.draining.get())
    }
}
