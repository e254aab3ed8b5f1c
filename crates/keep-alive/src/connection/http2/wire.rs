//! What follows from each frame of a connection (GOAWAY, `RST_STREAM`, PING, flow control), and the
//! few frames that the pool adds.
//!
//! hyper tells neither that a stream is answered and its upload stuck behind flow control, nor how
//! many streams it has reset, when the peer was heard last, or how full the connection's window is; and
//! it cannot be asked to ping or to reset. All of it shows in the heads of the frames, which pass here.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::added::{self, Added, OURS};
use super::exchanges::Exchanges;
use super::frames::{
    ACK, CONTINUATION, DATA, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, Part, RST_STREAM,
    WINDOW_UPDATE,
};
use super::mistakes::Mistake;
pub(crate) use super::pings::Pace;
use super::pings::{Pings, Silence};
use super::resets::Resets;
pub(crate) use super::suspicion::Suspect;
use super::suspicion::Suspicion;
use super::window::Window;
use crate::connection::earliest;
use crate::options::protocol::Http2Options;

const ENHANCE_YOUR_CALM: u32 = 11;
const HTTP_1_1_REQUIRED: u32 = 13;
/// What gRPC's servers say with it.
const TOO_MANY_PINGS: &[u8] = b"too_many_pings";

/// The time within which the end of the stream comes behind a write that found the peer's end gone.
const GONE_FOR: Duration = Duration::from_secs(1);

/// The frames of one connection, and what follows from them.
#[derive(Debug)]
pub(crate) struct Wire {
    inbound: Frames,
    outbound: Frames,
    added: Added,
    exchanges: Exchanges,
    pings: Pings,
    resets: Resets,
    window: Window,
    suspicion: Suspicion,
    mistake: Option<Mistake>,
    /// The peer ended the connection over our pings.
    too_many_pings: bool,
    /// The peer ended the connection since it requires HTTP/1.1.
    requires_http1: bool,
    /// A head came.
    answered: bool,
    /// Since when nothing that is written reaches the peer.
    gone_since: Option<Instant>,
}

impl Wire {
    pub(crate) fn new(options: &Http2Options, slower: u32, now: Instant) -> Self {
        Self {
            inbound: Frames::of_server(),
            outbound: Frames::of_client(),
            added: Added::default(),
            exchanges: Exchanges::default(),
            pings: Pings::new(options, slower, now),
            resets: Resets::new(now),
            window: Window::new(),
            suspicion: Suspicion::new(now),
            mistake: None,
            too_many_pings: false,
            requires_http1: false,
            answered: false,
            gone_since: None,
        }
    }

    pub(crate) const fn pace(&self) -> Pace {
        self.pings.pace()
    }

    /// Takes what the peer wrote, and passes it on in pieces, without the answers to our pings.
    pub(crate) fn read(&mut self, mut bytes: &[u8], now: Instant, mut on: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let part = self.inbound.step(&mut bytes);
            let is_ping = self.inbound.kind() == PING && self.inbound.length() == 8;
            match part {
                Part::Head if !is_ping => on(self.inbound.head()),
                Part::Payload(payload) if !is_ping => on(payload),
                // Held back until it is complete: the head is needed whole, and so is a ping.
                Part::Head | Part::Payload(_) | Part::Before => {}
            }
            if let (None, Some(first)) = (&self.mistake, self.inbound.first_bytes()) {
                self.mistake = Mistake::in_greeting(first);
            }
            if let Some(frame) = self.inbound.ended() {
                let pong = is_ping && frame.has(ACK) && frame.payload() == OURS;
                if is_ping && !pong {
                    on(self.inbound.head());
                    on(frame.payload());
                }
                self.received(&frame, now);
                if pong {
                    self.pings.answered();
                }
            }
        }
    }

    /// What is to be read as if the peer had written it, where it fits.
    pub(crate) fn take_inward(&mut self) -> Option<Vec<u8>> {
        self.inbound
            .is_between()
            .then(|| self.added.take_inward())
            .flatten()
    }

    fn received(&mut self, frame: &Frame, now: Instant) {
        let ends = frame.has(END_STREAM);
        self.suspicion.heard(now);
        self.pings.heard(now, matches!(frame.kind, HEADERS | DATA));
        match frame.kind {
            HEADERS | CONTINUATION => {
                self.answered = true;
                // On CONTINUATION that bit has no meaning (RFC 9113 section 6.10).
                let ends = ends && frame.kind == HEADERS;
                if let Some(bytes) = self.exchanges.head(frame, ends, now) {
                    self.mistake.get_or_insert(Mistake::Interim(bytes));
                }
            }
            DATA => {
                self.window.received(frame.length, now);
                if ends {
                    self.exchanges.answered(frame.stream, now);
                }
            }
            RST_STREAM => {
                let sent = self.exchanges.ended(frame.stream);
                self.resets.refused(now, sent);
            }
            GOAWAY => {
                self.exchanges
                    .left_out_above(frame.number(0) & (u32::MAX >> 1));
                let code = frame.number(4);
                self.requires_http1 |= code == HTTP_1_1_REQUIRED;
                // Eight bytes are there if the code is not 0: it was read off the last four of them.
                let calm = code == ENHANCE_YOUR_CALM;
                self.too_many_pings |= calm && frame.payload()[8..].starts_with(TOO_MANY_PINGS);
            }
            _ => {}
        }
    }

    /// Takes what this side wrote.
    pub(crate) fn wrote(&mut self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() {
            self.outbound.step(&mut bytes);
            if let Some(frame) = self.outbound.ended() {
                self.sent(&frame, now);
            }
        }
    }

    fn sent(&mut self, frame: &Frame, now: Instant) {
        match frame.kind {
            HEADERS | DATA => {
                if frame.kind == HEADERS {
                    self.suspicion.request_sent(now);
                }
                self.exchanges.sent(frame, frame.has(END_STREAM), now);
            }
            RST_STREAM => self.count_reset(frame.stream, now),
            WINDOW_UPDATE if frame.stream == 0 => self.window.widened(frame.number(0)),
            _ => {}
        }
    }

    /// What the pool adds, where it may stand: behind all that hyper has written, and behind what it
    /// was to read first, so that no frame of a stream follows its reset.
    ///
    /// `amid` says that it is begun, and has to be completed before anything else is written.
    pub(crate) fn outward(&self, amid: bool) -> &[u8] {
        if amid || self.outbound.is_between() {
            self.added.outward(amid)
        } else {
            &[]
        }
    }

    pub(crate) fn wrote_outward(&mut self, bytes: usize) {
        self.added.wrote_outward(bytes);
    }

    /// Does what is due.
    pub(crate) fn look(&mut self, now: Instant) {
        while let Some(stream) = self.exchanges.overdue(now) {
            self.reset(stream, now);
        }
        if self.gone_until().is_some_and(|until| until <= now) {
            self.mistake.get_or_insert(Mistake::Gone);
        }
        match self.pings.look(self.exchanges.waiting_since(), now) {
            Silence::Fine => {}
            Silence::Ask => self.ask(now),
            Silence::Dead(silent) => {
                self.mistake.get_or_insert(Mistake::Silent(silent));
            }
        }
    }

    /// Returns the time at which something is due next.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        // The next read or write fails by it: nothing else is waited for.
        if self.mistake.is_some() {
            return None;
        }
        let pings = self.pings.due(self.exchanges.waiting_since(), now);
        let streams = earliest(self.exchanges.due(), self.window.due(now));
        earliest(earliest(streams, pings), self.gone_until())
    }

    /// A write found the peer's end gone: only what it has said before that is to come.
    pub(crate) fn peer_gone(&mut self, now: Instant) {
        self.gone_since.get_or_insert(now);
    }

    pub(crate) const fn is_peer_gone(&self) -> bool {
        self.gone_since.is_some()
    }

    fn gone_until(&self) -> Option<Instant> {
        self.gone_since.map(|since| since + GONE_FOR)
    }

    fn reset(&mut self, stream: u32, now: Instant) {
        self.added.reset(stream);
        // Counted here: what the pool adds is not seen by `sent`.
        self.count_reset(stream, now);
    }

    fn count_reset(&mut self, stream: u32, now: Instant) {
        let sent = self.exchanges.ended(stream);
        self.resets.count(now, sent);
    }

    fn ask(&mut self, now: Instant) {
        self.added.ping();
        self.pings.asks(now);
    }

    /// A caller has given a request up. If nothing has come since one was sent, the path is in doubt.
    pub(crate) fn given_up(&mut self, now: Instant) -> Suspect {
        if self.suspicion.arises(now) {
            // The ping first: which doubt it is depends on one being on its way.
            if self.pings.may_ask(now) {
                self.ask(now);
            }
            self.suspicion.suspect(self.pings.is_asked(), now);
        }
        self.suspicion.is()
    }

    pub(crate) const fn suspect(&self) -> Suspect {
        self.suspicion.is()
    }

    /// Returns true if bodies that are not read have used up what all streams share.
    pub(crate) fn is_dry(&self, now: Instant) -> bool {
        self.window.is_dry(now)
    }

    /// Returns true if so many streams were reset that the peer may soon end the connection over
    /// it.
    pub(crate) const fn resets_are_spent(&self) -> bool {
        self.resets.are_spent()
    }

    pub(crate) fn has_no_streams(&self) -> bool {
        self.exchanges.are_none()
    }

    /// Returns true if it has served at all.
    pub(crate) const fn has_answered(&self) -> bool {
        self.answered
    }

    pub(crate) const fn too_many_pings(&self) -> bool {
        self.too_many_pings
    }

    /// Returns true if the peer has said GOAWAY with `HTTP_1_1_REQUIRED`.
    pub(crate) const fn requires_http1(&self) -> bool {
        self.requires_http1
    }

    /// The last frame of this side, if it can be written now.
    pub(crate) fn goodbye(&self) -> Option<Vec<u8>> {
        let fits = self.outbound.is_between() && self.mistake.is_none();
        fits.then(added::goodbye)
    }

    /// What the connection fails with, if it has to.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.mistake.as_ref().map(Mistake::to_io)
    }
}
