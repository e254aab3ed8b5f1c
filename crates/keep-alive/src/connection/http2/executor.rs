//! The executor that hyper gives a connection's frames to.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::rt::Executor;
use tollgate_core::lock::lock;

use super::Frames;
use crate::connection::upload::{Upload, Uploads};

/// An executor that catches the first future it is given, the connection's frames, and spawns the
/// others: each sends the body of one request, or waits for a head.
#[derive(Clone, Default)]
pub(super) struct CapturingExecutor {
    captured: Arc<Mutex<Captured>>,
    uploads: Uploads,
}

#[derive(Default)]
enum Captured {
    #[default]
    Nothing,
    Frames(Frames),
    Taken,
}

impl CapturingExecutor {
    pub(super) fn captured(&self) -> Frames {
        let captured = std::mem::replace(&mut *self.locked(), Captured::Taken);
        match captured {
            Captured::Frames(frames) => frames,
            Captured::Nothing | Captured::Taken => Box::pin(std::future::pending()),
        }
    }

    /// The bodies that are sent through it.
    pub(super) fn uploads(&self) -> Uploads {
        self.uploads.clone()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Captured> {
        lock(&self.captured)
    }
}

impl<F> Executor<F> for CapturingExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut captured = self.locked();
        if let Captured::Nothing = *captured {
            *captured = Captured::Frames(Box::pin(future));
            return;
        }
        // Unlocked before the spawn: a runtime that is ending drops what it is given, with a caller's
        // body in it.
        drop(captured);
        // hyper polls a body once itself, and gives it away if it has not ended: this is that body's.
        match self.uploads.take_unended() {
            Some(upload) => drop(tokio::spawn(Sending {
                future: Some(Box::pin(future)),
                upload,
            })),
            None => drop(tokio::spawn(future)),
        }
    }
}

/// Sends a body until it has ended or is cancelled.
///
/// hyper's future cannot be told to stop while it waits for flow control. Dropping it does, and
/// resets the stream if its response was dropped too.
struct Sending<F> {
    future: Option<Pin<Box<F>>>,
    upload: Arc<Upload>,
}

impl<F> Future for Sending<F>
where
    F: Future<Output = ()>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.upload.is_cancelled(cx.waker()) {
            self.future = None;
        }
        match &mut self.future {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}
