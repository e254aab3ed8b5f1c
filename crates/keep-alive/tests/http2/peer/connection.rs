//! One connection of a peer.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::{ENHANCE_YOUR_CALM, State};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const MAX_CONCURRENT_STREAMS: u8 = 3;
const REFUSED_STREAM: u32 = 7;

pub(super) struct Connection {
    pub(super) out: UnboundedSender<Vec<u8>>,
    pub(super) open: BTreeSet<u32>,
    /// Reset, and yet to be answered.
    pub(super) late: Vec<u32>,
    pub(super) peak: usize,
    last: u32,
    pub(super) resets: usize,
    pub(super) silent: bool,
    pub(super) goodbye: bool,
    pub(super) pings: Vec<Instant>,
    strikes: u32,
    free: bool,
}

impl State {
    pub(super) fn received(&mut self, at: usize, kind: u8, flags: u8, id: u32, body: &[u8]) {
        let connection = &mut self.connections[at];
        if self.silent || connection.silent {
            return;
        }
        match kind {
            SETTINGS if flags & ACK == 0 => connection.frame(SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => {
                connection.frame(PING, ACK, 0, body);
                connection.pinged(self.calm);
            }
            GOAWAY => connection.goodbye = true,
            RST_STREAM => {
                connection.resets += 1;
                if connection.open.remove(&id) && self.answers_late {
                    connection.late.push(id);
                }
            }
            HEADERS if id > connection.last => {
                connection.last = id;
                self.requests += 1;
                if self.refuse > 0 {
                    self.refuse -= 1;
                    return connection.frame(RST_STREAM, 0, id, &REFUSED_STREAM.to_be_bytes());
                }
                if self.leaves {
                    connection.frame(GOAWAY, 0, 0, &[0; 8]);
                    return;
                }
                connection.open.insert(id);
                connection.peak = connection.peak.max(connection.open.len());
                if self.answers_at_once {
                    connection.open.remove(&id);
                    connection.answer(id);
                }
            }
            _ => {}
        }
    }
}

impl Connection {
    pub(super) fn new(out: UnboundedSender<Vec<u8>>) -> Self {
        Self {
            out,
            open: BTreeSet::new(),
            late: Vec::new(),
            peak: 0,
            last: 0,
            resets: 0,
            silent: false,
            goodbye: false,
            pings: Vec::new(),
            strikes: 0,
            free: true,
        }
    }

    /// HEADERS or DATA go out, after which a ping is free.
    pub(super) fn message(&mut self) {
        self.free = true;
    }

    /// The enforcement of gRPC's servers as it comes: a ping is a strike within 5 minutes of the last one,
    /// 2 hours if no stream is open, unless a message went out in between; the third ends the connection.
    fn pinged(&mut self, calm: bool) {
        let now = Instant::now();
        let last = self.pings.last().copied();
        self.pings.push(now);
        let apart = if self.open.is_empty() { 2 * 60 } else { 5 };
        let apart = Duration::from_secs(apart * 60);
        if std::mem::take(&mut self.free) {
            self.strikes = 0;
        } else if last.is_some_and(|last| last + apart > now) {
            self.strikes += 1;
        }
        if calm && self.strikes > 2 {
            let mut body = 0_u32.to_be_bytes().to_vec();
            body.extend(ENHANCE_YOUR_CALM.to_be_bytes());
            body.extend(b"too_many_pings");
            self.frame(GOAWAY, 0, 0, &body);
            self.open.clear();
            let _gone = self.out.send(Vec::new());
        }
    }

    /// `:status: 200`, which is the 8th entry of HPACK's table, and "ok".
    pub(super) fn answer(&mut self, id: u32) {
        self.message();
        self.frame(HEADERS, END_HEADERS, id, &[0x88]);
        self.frame(DATA, END_STREAM, id, b"ok");
    }

    pub(super) fn frame(&self, kind: u8, flags: u8, id: u32, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(id.to_be_bytes());
        frame.extend(body);
        let _gone = self.out.send(frame);
    }
}
