//! The frames that the pool adds to those of hyper.

use super::frames::{GOAWAY, PING, RST_STREAM, frame};

/// The payload of our pings, by which their answers are known.
pub(super) const OURS: [u8; 8] = *b"tollgate";
const CANCEL: u32 = 8;

/// Frames that wait for a place between two others.
#[derive(Debug, Default)]
pub(super) struct Added {
    /// To be read as if the peer had written it.
    inward: Vec<u8>,
    /// To be written with the next flush.
    outward: Vec<u8>,
}

impl Added {
    pub(super) fn ping(&mut self) {
        self.outward.extend(frame(PING, 0, 0, &OURS));
    }

    /// Both sides learn that the stream is over: hyper, that waits for the window, as if the peer had
    /// said so, and the peer.
    pub(super) fn reset(&mut self, stream: u32) {
        let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        self.inward.extend(&reset);
        self.outward.extend(&reset);
    }

    pub(super) fn take_inward(&mut self) -> Option<Vec<u8>> {
        (!self.inward.is_empty()).then(|| std::mem::take(&mut self.inward))
    }

    /// What may be written now: not before what hyper is to read first, so that no frame of a stream
    /// follows its reset.
    pub(super) fn outward(&self, amid: bool) -> &[u8] {
        if amid || self.inward.is_empty() {
            &self.outward
        } else {
            &[]
        }
    }

    pub(super) fn wrote_outward(&mut self, bytes: usize) {
        self.outward.drain(..bytes);
    }
}

/// GOAWAY with `NO_ERROR`; no stream of the peer's was processed, since there was none.
pub(super) fn goodbye() -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[0; 8])
}
