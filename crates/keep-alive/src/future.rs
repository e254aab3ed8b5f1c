//! The future of a call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;

use crate::body::KeepAliveBody;
use crate::error::KeepAliveError;

type Outcome = Result<Response<KeepAliveBody>, KeepAliveError>;

/// The future of a call through the pool. It does nothing until it is polled.
///
/// Dropping it leaves the queue, or gives back what was granted, or, once the request is on its way,
/// closes that one connection; dials it caused go on and serve others.
#[must_use = "futures do nothing unless polled"]
pub struct KeepAliveFuture(State);

enum State {
    /// The one allocation of a call: hyper's future for a sent request has no name.
    Running(Pin<Box<dyn Future<Output = Outcome> + Send>>),
    Failed(Option<KeepAliveError>),
}

impl KeepAliveFuture {
    pub(crate) fn new(call: impl Future<Output = Outcome> + Send + 'static) -> Self {
        Self(State::Running(Box::pin(call)))
    }

    pub(crate) const fn failed(error: KeepAliveError) -> Self {
        Self(State::Failed(Some(error)))
    }
}

impl Future for KeepAliveFuture {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.0 {
            State::Running(call) => call.as_mut().poll(cx),
            State::Failed(error) => Poll::Ready(Err(error
                .take()
                .expect("a finished future is not polled again"))),
        }
    }
}

impl fmt::Debug for KeepAliveFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAliveFuture").finish_non_exhaustive()
    }
}
