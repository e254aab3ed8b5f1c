//! What is counted of one origin, one DNS name and one service, in relaxed atomics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tollgate_core::{CloseReason, ConnectErrorKind, DialInfo, RefuseReason};

use crate::advice::Totals;
use crate::histogram::Histogram;
use crate::limit::Limit;
use crate::load::Load;

/// A value that goes up and down. Events of different tasks can overtake each other, so it may be
/// negative for a moment; it reads as zero then.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicI64);

impl Level {
    pub(crate) fn rise(&self) -> u64 {
        unsigned(self.0.fetch_add(1, Relaxed) + 1)
    }

    /// What it was.
    pub(crate) fn fall(&self) -> u64 {
        unsigned(self.0.fetch_sub(1, Relaxed))
    }

    /// One of the things that the level adds up was `from` and is `to`.
    pub(crate) fn shift(&self, from: usize, to: usize) {
        self.0.fetch_add(signed(to) - signed(from), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        unsigned(self.0.load(Relaxed))
    }
}

fn signed(level: usize) -> i64 {
    i64::try_from(level).unwrap_or(i64::MAX)
}

fn unsigned(level: i64) -> u64 {
    level.max(0).unsigned_abs()
}

/// A level, and the highest that it was of late.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    now: Level,
    peak: AtomicU64,
    /// The peaks of the reports before. A scrape reads the last report alone, so a burst has to be
    /// in as many as may come between two scrapes.
    earlier: [AtomicU64; PEAK_REPORTS - 1],
}

/// How many reports a peak is in: 30 s at [`REPORT_EVERY`](crate::REPORT_EVERY), the longest that
/// Prometheus usually scrapes at.
pub(crate) const PEAK_REPORTS: usize = 3;

impl Queue {
    /// How many there are with this one.
    pub(crate) fn enter(&self) -> u64 {
        let now = self.now.rise();
        self.peak.fetch_max(now, Relaxed);
        now
    }

    pub(crate) fn leave(&self) {
        self.now.fall();
    }

    pub(crate) fn len(&self) -> u64 {
        self.now.get()
    }

    /// The peak since the last report, and of the reports before it that show it too.
    pub(crate) fn peak(&self) -> u64 {
        let earlier = self.earlier.iter().map(|peak| peak.load(Relaxed));
        earlier.fold(self.peak.load(Relaxed), u64::max)
    }

    /// The peak for a report, after which it starts again from those who wait.
    pub(crate) fn report_peak(&self) -> u64 {
        let reported = self.peak();
        let last = self.peak.swap(0, Relaxed);
        // Not in the swap: who entered between the two would be lost.
        self.peak.fetch_max(self.len(), Relaxed);
        self.earlier
            .iter()
            .fold(last, |last, peak| peak.swap(last, Relaxed));
        reported
    }
}

/// A counter for each value of a closed list.
#[derive(Debug)]
pub(crate) struct Tally<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Tally<N> {
    pub(crate) fn add(&self, index: usize) {
        // An index beyond the list would be a value newer than the list: not counted, no panic.
        if let Some(counter) = self.0.get(index) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn get(&self) -> [u64; N] {
        std::array::from_fn(|index| self.0[index].load(Relaxed))
    }
}

/// The phases that dials are measured in, in the order of [`OriginSeries::phases`].
pub(crate) const PHASES: [&str; 4] = ["dns", "tcp", "tls", "total"];

#[derive(Debug)]
pub(crate) struct OriginSeries {
    pub(crate) queued: Queue,
    pub(crate) in_flight: Level,
    pub(crate) opening: Level,
    pub(crate) open: Level,
    pub(crate) draining: Level,
    pub(crate) limit: Limit,
    /// Grants of a connection that had served before, and of one that had not: every grant is one.
    pub(crate) reused: AtomicU64,
    pub(crate) fresh: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) refused: Tally<{ RefuseReason::ALL.len() }>,
    pub(crate) closed: Tally<{ CloseReason::ALL.len() }>,
    pub(crate) connect_errors: Tally<{ ConnectErrorKind::ALL.len() }>,
    pub(crate) waits: Histogram,
    pub(crate) uses: Histogram,
    pub(crate) lifetimes: Histogram,
    pub(crate) phases: [Histogram; PHASES.len()],
    pub(crate) load: Load,
}

impl Default for OriginSeries {
    fn default() -> Self {
        Self {
            queued: Queue::default(),
            in_flight: Level::default(),
            opening: Level::default(),
            open: Level::default(),
            draining: Level::default(),
            limit: Limit::default(),
            reused: AtomicU64::new(0),
            fresh: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            refused: Tally::default(),
            closed: Tally::default(),
            connect_errors: Tally::default(),
            waits: Histogram::of_waits(),
            uses: Histogram::of_waits(),
            lifetimes: Histogram::of_lifetimes(),
            phases: std::array::from_fn(|_| Histogram::of_waits()),
            load: Load::default(),
        }
    }
}

impl OriginSeries {
    pub(crate) fn queued(&self) {
        let queued = self.queued.enter();
        let others = self.in_flight.get() + queued.saturating_sub(1);
        self.load.arrived(others);
    }

    pub(crate) fn granted(&self, waited: Duration, reused: bool) {
        let in_flight = self.in_flight.rise();
        if waited.is_zero() {
            self.load.arrived(in_flight.saturating_sub(1));
        }
        let counter = if reused { &self.reused } else { &self.fresh };
        counter.fetch_add(1, Relaxed);
        self.left_queue(waited);
        self.waits.record(waited);
    }

    pub(crate) fn refused(&self, reason: RefuseReason, waited: Duration) {
        self.refused.add(reason as usize);
        self.left_queue(waited);
        // Refused at once is no wait; it would hide the waits of the others.
        if !waited.is_zero() {
            self.waits.record(waited);
        }
    }

    /// Zero means never queued: the contract of [`tollgate_core::Event`].
    fn left_queue(&self, waited: Duration) {
        if !waited.is_zero() {
            self.queued.leave();
        }
    }

    pub(crate) fn released(&self, held: Duration) {
        if 2 * self.in_flight.fall() > self.limit.get() {
            self.load.ended_busy(held);
        }
        self.uses.record(held);
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

    /// What happened until now, but for what [`Load`] knows itself.
    pub(crate) fn totals(&self) -> Totals {
        let uses = self.uses.distribution();
        Totals {
            // Who waits has come, and is not yet among the waits.
            arrivals: self.waits.distribution().count + self.queued.len(),
            uses: uses.count,
            use_nanos: u64::try_from(uses.sum.as_nanos()).unwrap_or(u64::MAX),
            ..Totals::default()
        }
    }

    /// Active and idle connections, which are the open ones: exact where a connection serves one
    /// request at a time, an upper bound of the active ones for HTTP/2.
    pub(crate) fn active_and_idle(&self) -> (u64, u64) {
        let open = self.open.get().saturating_sub(self.draining.get());
        let active = self.in_flight.get().min(open);
        (active, open - active)
    }
}
