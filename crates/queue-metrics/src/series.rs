//! What is counted of one origin, one DNS name and one service, in relaxed atomics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tollgate_core::{CloseReason, ConnectErrorKind, DialInfo, RefuseReason};

use crate::histogram::Histogram;

/// A value that goes up and down. Events of different tasks can overtake each other, so it may be
/// negative for a moment; it reads as zero then.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicI64);

impl Level {
    pub(crate) fn rise(&self) -> u64 {
        unsigned(self.0.fetch_add(1, Relaxed) + 1)
    }

    pub(crate) fn fall(&self) {
        self.0.fetch_sub(1, Relaxed);
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

/// A level and the highest it was since somebody asked.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    now: Level,
    peak: AtomicU64,
}

impl Queue {
    pub(crate) fn enter(&self) {
        self.peak.fetch_max(self.now.rise(), Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.now.fall();
    }

    pub(crate) fn len(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }

    /// The peak, which starts again from those who wait now.
    pub(crate) fn take_peak(&self) -> u64 {
        self.peak.swap(self.len(), Relaxed)
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
    /// What the pools say, the limits of all origins of this series together.
    pub(crate) limit: Level,
    /// What the application says, zero until it does: it wins.
    pub(crate) limit_told: AtomicU64,
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
}

impl Default for OriginSeries {
    fn default() -> Self {
        Self {
            queued: Queue::default(),
            in_flight: Level::default(),
            opening: Level::default(),
            open: Level::default(),
            draining: Level::default(),
            limit: Level::default(),
            limit_told: AtomicU64::new(0),
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
        }
    }
}

impl OriginSeries {
    pub(crate) fn granted(&self, waited: Duration, reused: bool) {
        self.in_flight.rise();
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
        self.in_flight.fall();
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

    /// Active and idle connections, which are the open ones: exact where a connection serves one
    /// request at a time, an upper bound of the active ones for HTTP/2.
    pub(crate) fn active_and_idle(&self) -> (u64, u64) {
        let open = self.open.get().saturating_sub(self.draining.get());
        let active = self.in_flight.get().min(open);
        (active, open - active)
    }
}
