//! The future of a call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tollgate_core::{BoxError, Origin, Timings};

use crate::call::attempt::Call;
use crate::call::body::KeepAliveBody;
use crate::call::progress::Progress;
use crate::call::reread;
use crate::call::retry::{After, Failure};
use crate::call::span::{self, AttemptSpan};
use crate::call::tunnel::Tunnel;
use crate::connection::request::{self, Unsendable};
use crate::connection::sender::Outgoing;
use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::pool::checkout::Demanded;
use crate::pool::lease::Lease;
use crate::pool::origin_pool::OriginPool;
use crate::pool::owner::Owner;

const POLLED_AGAIN: &str = "a finished call is not polled again";

type Outcome = Result<Response<KeepAliveBody>, KeepAliveError>;

/// The future of a call through the pool.
///
/// The call has begun when this exists: the request is on its way, if an idle connection was there, or
/// in the queue. What needs a runtime happens when it is polled.
///
/// Dropping it cancels its ticket, or gives back what was granted, or, once the request is on its way,
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
    /// A call with a request that is prepared first, or refused.
    #[inline]
    pub(crate) fn of<B>(
        mut request: Request<B>,
        owner: &Arc<Owner>,
        pool: &Arc<OriginPool>,
        lease: Option<Lease>,
        waited: Duration,
    ) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // Before a lease is asked for: it would be granted to a request that is never sent.
        match request::check(&mut request) {
            Ok(announced) => {
                let mut request = Some(request::prepare(request, announced));
                Self::new(Call::new(owner.clone()), pool, &mut request, lease, waited)
            }
            Err(why) => Self::unsendable(&pool.origin, request.method(), waited, why),
        }
    }

    #[cold]
    fn unsendable(origin: &Origin, method: &Method, waited: Duration, why: Unsendable) -> Self {
        let kind = KeepAliveErrorKind::InvalidRequest;
        let error = KeepAliveError::new(kind, Some(origin.clone())).with_source(why);
        Self::refused(Some(origin), method, waited, error)
    }

    /// A call, on `lease` if the caller has reserved one and waited for it so long.
    #[inline]
    fn new(
        mut call: Call,
        pool: &Arc<OriginPool>,
        request: &mut Outgoing,
        mut lease: Option<Lease>,
        waited: Duration,
    ) -> Self {
        if span::is_heard() {
            return Self::told(call, pool, request, lease, waited);
        }
        let place = match call.ask(pool, request, &mut lease) {
            Ok(place) => place,
            Err(error) => return Self::failed(error),
        };
        // Only where nothing has to be looked at first: the slower way makes sure of the rest.
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

    /// Returns the times of the call so far, for a caller that is about to give it up: the wait for
    /// a connection, and the connection. Once it is over, they are in its response or its error.
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

    /// Returns true if no byte of the request has reached a server so far: it waits for a
    /// connection, and no attempt before this one may have been heard.
    pub fn nothing_sent(&self) -> bool {
        match &self.0 {
            // hyper has it, and may have written it.
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

    /// A call whose answer is read again.
    #[cold]
    fn again(call: Call, failure: Failure, lease: Lease) -> Self {
        let progress = Arc::new(Progress::waiting(&call));
        // It was sent: a call that is given up in the second reading may have been heard.
        progress.sends(&call, &lease);
        let future = Box::pin(call.run_again(failure, lease, progress.clone()));
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
        // Before the judgement, which ends the lease that a second reading goes on with.
        if reread::may_help(&failure, &lease) {
            return State::Running(Running::again(self.call.clone(), failure, lease));
        }
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
                let _dropped_last = hit.call.let_go();
                Poll::Ready(Ok(hit.call.finish(response, lease, hit.tunnel)))
            }
            Poll::Ready(Err(failure)) => {
                self.0 = hit.after(failure);
                // In the same poll: what the call waits for now has no waker of this task yet.
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
