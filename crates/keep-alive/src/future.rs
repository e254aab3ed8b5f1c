//! The future of a call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Response};
use tollgate_core::{Origin, Timings};

use crate::body::KeepAliveBody;
use crate::error::KeepAliveError;
use crate::exchange::{After, Call, Failure, Tunnel};
use crate::lease::Lease;
use crate::origin_pool::{Demanded, OriginPool};
use crate::progress::Progress;
use crate::sender::Outgoing;
use crate::spans::{self, AttemptSpan};

const POLLED_AGAIN: &str = "a finished call is not polled again";

type Outcome = Result<Response<KeepAliveBody>, KeepAliveError>;

/// The future of a call through the pool.
///
/// The call has begun when this exists: the request is on its way, if an idle connection was there, or
/// in the queue. What needs a runtime happens when it is polled.
///
/// Dropping it leaves the queue, or gives back what was granted, or, once the request is on its way,
/// closes that one connection; dials it caused go on and serve others.
#[must_use = "futures do nothing unless polled"]
pub struct KeepAliveFuture(State);

/// Sending (an idle connection was there) or Running (it has to wait); Sending → Running (it starts
/// again).
enum State {
    Sending(Hit),
    Running(Running),
    Failed(Option<KeepAliveError>),
}

/// A call that waits, and what it tells of itself meanwhile.
struct Running {
    progress: Arc<Progress>,
    future: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

/// A call that found an idle connection: nearly every one does, so it is worth a way of its own,
/// without a box.
struct Hit {
    lease: Option<Lease>,
    tunnel: Tunnel,
    call: Call,
}

impl KeepAliveFuture {
    /// A call, on `lease` if the caller has reserved one and waited for it so long.
    #[inline]
    pub(crate) fn new(
        mut call: Call,
        pool: &Arc<OriginPool>,
        request: &mut Outgoing,
        mut lease: Option<Lease>,
        waited: Duration,
    ) -> Self {
        if spans::is_heard() {
            return Self::told(call, pool, request, lease, waited);
        }
        let place = match call.ask(pool, request, &mut lease) {
            Ok(place) => place,
            Err(error) => return Self::failed(error),
        };
        if let Some(clean) = lease.as_mut().filter(|lease| lease.is_clean()) {
            let tunnel = call.send(request, clean);
            return Self(State::Sending(Hit {
                lease,
                tunnel,
                call,
            }));
        }
        Self::running(
            call,
            pool,
            request,
            Demanded::of(lease, place),
            AttemptSpan::default(),
        )
    }

    #[cold]
    fn running(
        call: Call,
        pool: &Arc<OriginPool>,
        request: &mut Outgoing,
        demanded: Demanded,
        span: AttemptSpan,
    ) -> Self {
        let running = Running::start(call, pool.clone(), request.take(), demanded, span);
        Self(State::Running(running))
    }

    /// The same with a span for each attempt, which a hit has no room for: all take the slower way.
    #[cold]
    fn told(
        mut call: Call,
        pool: &Arc<OriginPool>,
        request: &mut Outgoing,
        mut lease: Option<Lease>,
        waited: Duration,
    ) -> Self {
        let mut span = call.span(pool, request);
        span.waited(waited);
        let place = match call.ask(pool, request, &mut lease) {
            Ok(place) => place,
            Err(error) => {
                span.refused(&error);
                return Self::failed(error);
            }
        };
        Self::running(call, pool, request, Demanded::of(lease, place), span)
    }

    /// A request that was refused before it could ask for anything.
    #[cold]
    pub(crate) fn refused(
        origin: Option<&Origin>,
        method: &Method,
        waited: Duration,
        error: KeepAliveError,
    ) -> Self {
        let mut span = AttemptSpan::start(origin, Some(method), 1);
        span.waited(waited);
        span.refused(&error);
        Self::failed(error)
    }

    /// How far the call has come, for whoever is about to give it up: how long it has waited for a
    /// connection, and which one it is on. Once it is over, its response or its error says so.
    pub fn timings(&self) -> Timings {
        match &self.0 {
            State::Sending(hit) => {
                let lease = hit.lease.as_ref();
                lease.map_or_else(Timings::default, |lease| hit.call.timings_on(lease))
            }
            State::Running(running) => running.progress.timings(),
            State::Failed(error) => error
                .as_ref()
                .map(KeepAliveError::timings)
                .unwrap_or_default(),
        }
    }

    /// Whether no byte of the request has reached a server so far: it waits for a connection, and no
    /// attempt before this one may have been heard.
    pub fn nothing_sent(&self) -> bool {
        match &self.0 {
            State::Sending(_) => false,
            State::Running(running) => running.progress.nothing_sent(),
            State::Failed(error) => error.as_ref().is_some_and(KeepAliveError::nothing_sent),
        }
    }

    pub(crate) const fn failed(error: KeepAliveError) -> Self {
        Self(State::Failed(Some(error)))
    }
}

impl Running {
    fn start(
        call: Call,
        pool: Arc<OriginPool>,
        request: Outgoing,
        demanded: Demanded,
        span: AttemptSpan,
    ) -> Self {
        let progress = Arc::new(Progress::waiting(&call));
        let future = Box::pin(call.run(pool, request, demanded, span, progress.clone()));
        Self { progress, future }
    }
}

impl Hit {
    /// The exchange failed; whatever comes now takes the slower way.
    #[cold]
    fn after(&mut self, failure: Failure) -> State {
        let Some(lease) = self.lease.take() else {
            return State::Failed(None);
        };
        let pool = lease.origin().clone();
        match self.call.after(failure, lease) {
            After::Fail(error) => State::Failed(Some(error)),
            After::Again(request) => match self.call.ask_again(&pool) {
                Ok(demanded) => {
                    let span = AttemptSpan::default();
                    let call = self.call.clone();
                    State::Running(Running::start(call, pool, Some(request), demanded, span))
                }
                Err(error) => {
                    let error = self.call.refused(error, &mut AttemptSpan::default());
                    State::Failed(Some(error))
                }
            },
        }
    }
}

impl Future for KeepAliveFuture {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let State::Sending(hit) = &mut self.0 else {
            return self.poll_slow(cx);
        };
        let lease = hit.lease.as_mut();
        match lease.expect(POLLED_AGAIN).poll_head(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(response)) => {
                let lease = hit.lease.take().expect(POLLED_AGAIN);
                Poll::Ready(Ok(hit.call.finish(response, lease, hit.tunnel)))
            }
            Poll::Ready(Err(failure)) => {
                self.0 = hit.after(failure);
                self.poll_slow(cx)
            }
        }
    }
}

impl KeepAliveFuture {
    #[cold]
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.0 {
            State::Running(running) => running.future.as_mut().poll(cx),
            State::Failed(error) => Poll::Ready(Err(error.take().expect(POLLED_AGAIN))),
            State::Sending(_) => unreachable!("a hit that failed goes on otherwise"),
        }
    }
}

impl fmt::Debug for KeepAliveFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAliveFuture").finish_non_exhaustive()
    }
}
