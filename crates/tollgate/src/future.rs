//! The future of a call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Response, Uri};
use tokio::time::Instant;
use tollgate_core::{Origin, Timer};
use tollgate_keep_alive::{KeepAliveBody, KeepAliveError, KeepAliveFuture};

use crate::body::{Body, Watches};
use crate::call_end::CallEnd;
use crate::call_phase::CallPhase;
use crate::error::{Error, ExchangeState};
use crate::exchanges::{Entry, RECHECK};
use crate::limits::Kept;

/// The steps of tokio's timers.
const TICK: Duration = Duration::from_millis(1);

/// The destination of an exchange, for an error: an origin is made of a URI only then.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    Uri(Uri),
    Origin(Origin),
}

impl Destination {
    pub(crate) fn origin(&self) -> Option<Origin> {
        match self {
            Self::Uri(uri) => Origin::from_uri(uri),
            Self::Origin(origin) => Some(origin.clone()),
        }
    }
}

/// A call through a [`Client`](crate::Client) or an [`OriginClient`](crate::OriginClient).
///
/// The call has begun when this exists: the request is on its way, if an idle connection was there, or
/// in the queue. Dials begin when it is polled.
///
/// # Cancel safety
///
/// Dropping it cancels the wait, gives back what was granted, or closes the one connection that its
/// request is on. Dials that it caused go on and serve others.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(State);

#[expect(clippy::large_enum_variant, reason = "failing at once is the rare one")]
enum State {
    Running(Running),
    Failed(Option<Error>),
}

struct Running {
    call: KeepAliveFuture,
    /// Goes to the body with the response.
    destination: Option<Destination>,
    limits: Kept,
    timer: Timer,
    /// `None` of a client that watches nothing.
    watch: Option<Watch>,
    /// `None` of a client without an observer, and once it was reported.
    end: Option<CallEnd>,
}

/// The exchange in the table of those under way, and the look for a deadlock while it waits.
struct Watch {
    entry: Entry,
    recheck: Timer,
    suspected: bool,
}

impl ResponseFuture {
    pub(crate) fn new(
        call: KeepAliveFuture,
        destination: Destination,
        limits: Kept,
        entry: Option<Entry>,
        end: Option<CallEnd>,
    ) -> Self {
        Self(State::Running(Running {
            call,
            destination: Some(destination),
            limits,
            timer: Timer::new(),
            watch: entry.map(Watch::new),
            end,
        }))
    }

    pub(crate) const fn failed(error: Error) -> Self {
        Self(State::Failed(Some(error)))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Running(running) => running.poll(cx),
            State::Failed(error) => Poll::Ready(Err(error
                .take()
                .expect("a finished future is not polled again"))),
        }
    }
}

impl Running {
    /// The answer before the clock: one that is ready wins a tie.
    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Body>, Error>> {
        // An answer is large to move: nothing holds it between here and the caller.
        match Pin::new(&mut self.call).poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(self.answered(response))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.ended(self.failed(error)))),
            Poll::Pending => self.poll_limits(cx).map(|error| Err(self.ended(error))),
        }
    }

    #[expect(
        clippy::inline_always,
        reason = "else the response is moved twice more"
    )]
    #[inline(always)]
    fn answered(&mut self, response: Response<KeepAliveBody>) -> Response<Body> {
        // Taken, or the drop would report that the caller went away.
        let end = self.end.take();
        let transfer = end.and_then(|end| end.answered(&response));
        let (destination, limits) = (self.destination.take(), self.limits);
        let entry = self.watch.take().map(Watch::answered);
        let watches = Watches::of(response.body(), entry, transfer);
        response.map(|body| Body::new(body, destination, limits, watches))
    }

    /// The error as the caller has it, and the observer.
    #[cold]
    fn ended(&mut self, error: Error) -> Error {
        let error = error.of_grpc(self.limits.is_grpc());
        if let Some(end) = self.end.take() {
            end.failed(&error, self.destination.as_ref());
        }
        error
    }

    /// The error of a call whose time is up, or that waits for its own caller.
    #[inline]
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        // Before the limits: where both are due the deadlock is the cause.
        if let Some(watch) = &mut self.watch
            && watch.is_deadlocked(&self.call, cx)
        {
            return Poll::Ready(Error::deadlock(self.state()));
        }
        let Some(end) = self.limits.head() else {
            return Poll::Pending;
        };
        // Set once: the end counts from the call, and no wait moves it.
        self.timer.poll_until(end.at, cx).map(|()| {
            let state = self.state();
            let phase = if state.is_on_connection() {
                CallPhase::Response
            } else {
                CallPhase::Queue
            };
            Error::timed_out(end, state, phase)
        })
    }

    #[cold]
    fn state(&self) -> ExchangeState {
        let origin = self.destination.as_ref().and_then(Destination::origin);
        ExchangeState::of_call(origin, &self.call)
    }

    /// The error of the pool, or that of the limit that both keep: the pool of a call that waits does so
    /// first.
    #[cold]
    fn failed(&self, error: KeepAliveError) -> Error {
        // The pool's clock was started first, and by less than a tick. Only a limit that is due by
        // then: what ran out may be the request's `Deadline`, which is none of the client's.
        let soon = Instant::now() + TICK;
        match self.limits.head().filter(|end| end.at <= soon) {
            Some(end) if error.is_overdue() => {
                let phase = if error.was_connecting() {
                    CallPhase::Connect
                } else {
                    CallPhase::Queue
                };
                Error::timed_out(end, ExchangeState::of_refused(&error), phase)
            }
            _ => Error::pool(error),
        }
    }
}

/// The caller went away.
impl Drop for Running {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end.left(self.destination.as_ref());
        }
    }
}

impl Watch {
    const fn new(entry: Entry) -> Self {
        Self {
            entry,
            recheck: Timer::new(),
            suspected: false,
        }
    }

    fn answered(self) -> Entry {
        self.entry.granted();
        // Counts as read now, and then no more: a body that is never polled is the usual leak.
        self.entry.polled(false);
        self.entry
    }

    /// Returns true if two looks in a row found that nothing which this call waits for can come.
    fn is_deadlocked(&mut self, call: &KeepAliveFuture, cx: &mut Context<'_>) -> bool {
        // It has what it waited for, and others may now wait for that.
        if call.timings().connection > 0 {
            self.entry.granted();
            return false;
        }
        if !self.entry.is_scoped() {
            return false;
        }
        let mut at = self.recheck.deadline();
        // Set anew and polled in the same turn: a timer that was never polled wakes no task.
        while self
            .recheck
            .poll_until(at.unwrap_or_else(|| Instant::now() + RECHECK), cx)
            .is_ready()
        {
            at = None;
            let deadlocked = self.entry.is_deadlocked();
            // Two looks: counts and table are read one after the other, and a single one may err.
            if deadlocked && self.suspected {
                return true;
            }
            self.suspected = deadlocked;
        }
        false
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
