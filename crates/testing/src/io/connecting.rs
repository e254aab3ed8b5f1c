//! A dial in progress.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::counted::{CountedIo, Stats, Stream};
use crate::board::Board;

/// The result of a dial: a panic is left to the future, so that it is counted first.
pub(super) type Dialled =
    Pin<Box<dyn Future<Output = Result<io::Result<CountedIo<Stream>>, ScriptedPanic>> + Send>>;

pub(super) struct ScriptedPanic;

/// A dial in progress; dropping it cancels it, and counts it as cancelled.
pub struct Connecting {
    pub(super) dial: Dialled,
    pub(super) dialling: Option<Dialling>,
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connecting")
    }
}

impl Future for Connecting {
    type Output = io::Result<CountedIo<Stream>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.dial.as_mut().poll(cx));
        if let Some(dialling) = self.dialling.take() {
            dialling.end(|stats| match &outcome {
                Ok(Ok(_)) => stats.opened += 1,
                Ok(Err(_)) | Err(ScriptedPanic) => stats.failed += 1,
            });
        }
        let Ok(outcome) = outcome else {
            panic!("this dial was told to panic");
        };
        Poll::Ready(outcome)
    }
}

/// Counts a call as dialling; dropped without an end, it counts as cancelled.
pub(super) struct Dialling {
    board: Option<Arc<Board<Stats>>>,
    /// Which call it is, from 0.
    pub(super) nth: usize,
}

impl Dialling {
    pub(super) fn begin(board: &Arc<Board<Stats>>) -> Self {
        let nth = board.update(|stats| {
            stats.calls += 1;
            stats.dialling += 1;
            stats.peak_dialling = stats.peak_dialling.max(stats.dialling);
            stats.calls - 1
        });
        let board = Some(Arc::clone(board));
        Self { board, nth }
    }

    pub(super) fn end(mut self, how: impl FnOnce(&mut Stats)) {
        if let Some(board) = self.board.take() {
            board.update(|stats| {
                stats.dialling -= 1;
                how(stats);
            });
        }
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        if let Some(board) = self.board.take() {
            board.update(|stats| {
                stats.dialling -= 1;
                stats.cancelled += 1;
            });
        }
    }
}
