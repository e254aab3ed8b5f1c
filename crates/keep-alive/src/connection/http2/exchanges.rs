//! The streams of a connection as the wire shows them.

use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::time::Instant;

use super::frames::{DATA, Frame, HEADERS};
use crate::connection::io::MAX_HEAD_BYTES;

/// The time that an upload has after its answer is complete, counted from the last byte of it that
/// flow control let through: long enough for a last chunk that is on its way.
const GRACE: Duration = Duration::from_millis(50);
/// The longest time that an upload may go on after its answer is complete.
const MOST: Duration = Duration::from_secs(30);

/// The streams that are open.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    open: HashMap<u32, Exchange, RandomState>,
    last: u32,
    /// Those without an answer, and since when there is one.
    waiting: usize,
    waiting_since: Option<Instant>,
    /// Those whose answer is complete, and whose request is not.
    answered: usize,
}

#[derive(Debug)]
struct Exchange {
    /// HEADERS came.
    heads: bool,
    /// The bytes of header blocks before the final one's end.
    head_bytes: u32,
    /// The bytes of its body that this side sent.
    sent_bytes: u32,
    sent: bool,
    wrote_at: Instant,
    answered_at: Option<Instant>,
}

impl Exchange {
    const fn new(now: Instant) -> Self {
        Self {
            heads: false,
            head_bytes: 0,
            sent_bytes: 0,
            sent: false,
            wrote_at: now,
            answered_at: None,
        }
    }

    /// Returns the time at which to reset it, if its answer is complete.
    fn reset_at(&self) -> Option<Instant> {
        let answered_at = self.answered_at?;
        Some((answered_at.max(self.wrote_at) + GRACE).min(answered_at + MOST))
    }
}

impl Exchanges {
    pub(super) fn are_none(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) const fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// This side sent HEADERS or DATA; `ends` says `END_STREAM`.
    pub(super) fn sent(&mut self, frame: &Frame, ends: bool, now: Instant) {
        let stream = frame.stream;
        // Trailers are HEADERS too, on a stream that is known.
        if frame.kind == HEADERS && stream > self.last {
            self.last = stream;
            self.waiting += 1;
            self.waiting_since.get_or_insert(now);
            self.open.insert(stream, Exchange::new(now));
        }
        // What hyper had in its buffer when the stream was reset is of no stream that is open.
        let Some(exchange) = self.open.get_mut(&stream) else {
            return;
        };
        exchange.wrote_at = now;
        if frame.kind == DATA {
            exchange.sent_bytes = exchange.sent_bytes.saturating_add(frame.length);
        }
        exchange.sent |= ends;
        if exchange.sent && exchange.answered_at.is_some() {
            self.ended(stream);
        }
    }

    /// The peer sent HEADERS or CONTINUATION. Returns how many bytes of them came without a final head
    /// if those are too many.
    pub(super) fn head(&mut self, frame: &Frame, ends: bool, now: Instant) -> Option<u32> {
        let exchange = self.open.get_mut(&frame.stream)?;
        exchange.head_bytes = exchange.head_bytes.saturating_add(frame.length);
        let bytes = exchange.head_bytes;
        if !exchange.heads {
            exchange.heads = true;
            self.answer_begins();
        }
        if ends {
            self.answered(frame.stream, now);
        }
        (bytes as usize > MAX_HEAD_BYTES).then_some(bytes)
    }

    fn answer_begins(&mut self) {
        self.waiting -= 1;
        // While others wait it stays as it is: where this one was answered, the frame that came is later,
        // and silence counts from that.
        if self.waiting == 0 {
            self.waiting_since = None;
        }
    }

    /// The peer sent `END_STREAM`.
    pub(super) fn answered(&mut self, stream: u32, now: Instant) {
        let Some(exchange) = self.open.get_mut(&stream) else {
            return;
        };
        if exchange.sent {
            self.ended(stream);
        } else if exchange.answered_at.replace(now).is_none() {
            self.answered += 1;
        }
    }

    /// Both sides have sent `END_STREAM`, or one has reset the stream. Returns how many bytes of its body
    /// this side sent.
    pub(super) fn ended(&mut self, stream: u32) -> u32 {
        let Some(exchange) = self.open.remove(&stream) else {
            return 0;
        };
        self.answered -= usize::from(exchange.answered_at.is_some());
        if !exchange.heads {
            self.answer_begins();
        }
        exchange.sent_bytes
    }

    /// The peer processes none above `last`.
    pub(super) fn left_out_above(&mut self, last: u32) {
        let left_out = self.open.keys().copied().filter(|&stream| stream > last);
        for stream in left_out.collect::<Vec<_>>() {
            self.ended(stream);
        }
    }

    /// Returns the time at which the next upload is to be reset.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.answered == 0 {
            return None;
        }
        self.open.values().filter_map(Exchange::reset_at).min()
    }

    /// A stream whose answer is complete and whose upload the peer has not let through.
    pub(super) fn overdue(&self, now: Instant) -> Option<u32> {
        if self.answered == 0 {
            return None;
        }
        let is_due = |exchange: &Exchange| exchange.reset_at().is_some_and(|at| at <= now);
        let mut all = self.open.iter();
        all.find_map(|(&stream, exchange)| is_due(exchange).then_some(stream))
    }
}
