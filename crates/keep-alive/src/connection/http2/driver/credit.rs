//! How many streams a connection can take, and what the engine is told of it.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use hyper::client::conn::http2::Connection;
use hyper::rt::{Read, Write};
use tokio::time::{Instant, Sleep, sleep};
use tollgate_core::CloseReason;

use super::Http2Driver;
use crate::connection::http2::wire::Suspect;

/// A peer that has refused a stream is busy, or has just lowered its limit: what was refused goes
/// elsewhere, or waits this long.
const REFUSED_FOR: Duration = Duration::from_millis(100);

impl<I> Http2Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    /// Returns the number of streams that there may be at once now.
    pub(super) fn allowed(&self) -> usize {
        let wire = self.wire.lock();
        let doubtful =
            wire.suspect() != Suspect::No || wire.is_peer_gone() || wire.is_dry(Instant::now());
        // h2 has a lock of its own, which is not taken under this one.
        drop(wire);
        if self.refused.is_some() || doubtful {
            return 0;
        }
        let requests = self.requests.as_ref();
        let peer = requests.map_or(0, Connection::current_max_send_streams);
        peer.min(self.max_streams)
    }

    /// After a refused stream its peer gets no new one for a while.
    pub(super) fn poll_refused(&mut self, cx: &mut Context<'_>) {
        if self.conn.take_refused() {
            self.refused = Some(Box::pin(sleep(REFUSED_FOR)));
        }
        // Polled in the turn that made it, too: before its first poll a timer wakes no task.
        let over = |refused: &mut Pin<Box<Sleep>>| refused.as_mut().poll(cx).is_ready();
        if self.refused.as_mut().is_some_and(over) {
            self.refused = None;
        }
    }

    /// Tells the engine what the connection can take now.
    pub(super) fn adjust(&mut self) {
        let (spent, suspect) = {
            let wire = self.wire.lock();
            (wire.resets_are_spent(), wire.suspect())
        };
        if spent {
            self.retire_once(CloseReason::MaxRequests);
        }
        // In doubt it takes nothing: where no other may be opened beside it, every request would wait
        // for the answer.
        if suspect == Suspect::Mute || (suspect == Suspect::Asked && !self.port.has_room_beside()) {
            self.retire_once(CloseReason::Error);
        }
        // Before the comparison: the engine has 0 by now, and not what is noted here.
        if self.conn.take_told() {
            self.streams = None;
        }
        let streams = self.allowed();
        if self.streams == Some(streams) {
            return;
        }
        self.streams = Some(streams);
        self.port.offers(&self.conn, streams);
    }

    /// Takes no more requests on it: those that are on it go on, the others go elsewhere.
    fn retire_once(&mut self, reason: CloseReason) {
        if !std::mem::replace(&mut self.retired, true) {
            self.retire_for(reason);
        }
    }
}
