//! One dial, from a URI to a connection.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::Connection;
use tokio::time::Instant;
use tollgate_core::{BoxError, Phase, Timer, late, phase};
use tower_service::Service;

use crate::config::Shared;
use crate::dialling::{Dialling, Transition};
use crate::error::DialError;
use crate::racing::Racing;
use crate::resolution_delay::ResolutionDelay;
use crate::stream::DialStream;
use crate::target::{Refusal, Target};

/// One dial. Dropping it closes every socket that it has not handed over, half open or not.
///
/// It reports to the [`phase`] scope that it is polled in, and needs a tokio runtime with IO and
/// time. What must stay in place is boxed, since hyper-util's legacy client asks for `Unpin`.
#[must_use = "futures do nothing unless polled"]
pub struct DialFuture<F, A: Service<SocketAddr>> {
    state: State<F, A>,
    timer: Timer,
    context: Dialling<A>,
}

enum State<F, A: Service<SocketAddr>> {
    // Refused → Refused, never polled again
    Refused(Refusal),
    Unix,
    // Literal → Racing, or an error
    Literal(SocketAddr),
    // Resolving → Delayed, Racing, or an error
    Resolving(Pin<Box<F>>),
    // Delayed → Racing
    Delayed(ResolutionDelay),
    Racing(Box<Racing<A>>),
}

impl<F, A: Service<SocketAddr>> Unpin for DialFuture<F, A> {}

impl<F, A: Service<SocketAddr>> DialFuture<F, A> {
    pub(crate) fn refused(why: Refusal, target: Target, shared: Arc<Shared>, attempt: A) -> Self {
        Self::new(State::Refused(why), target, shared, attempt)
    }

    pub(crate) fn unix(target: Target, shared: Arc<Shared>, attempt: A) -> Self {
        Self::new(State::Unix, target, shared, attempt)
    }

    pub(crate) fn literal(
        target: Target,
        addr: SocketAddr,
        shared: Arc<Shared>,
        attempt: A,
    ) -> Self {
        Self::new(State::Literal(addr), target, shared, attempt)
    }

    pub(crate) fn resolving(target: Target, future: F, shared: Arc<Shared>, attempt: A) -> Self {
        Self::new(State::Resolving(Box::pin(future)), target, shared, attempt)
    }

    fn new(state: State<F, A>, target: Target, shared: Arc<Shared>, attempt: A) -> Self {
        Self {
            state,
            timer: Timer::new(),
            context: Dialling::new(shared, attempt, target),
        }
    }
}

impl<F, I, E, A> Future for DialFuture<F, A>
where
    F: Future<Output = Result<I, E>>,
    I: IntoIterator<Item = SocketAddr>,
    E: Into<BoxError>,
    A: Service<SocketAddr> + Clone,
    A::Response: Connection,
    A::Error: Into<BoxError>,
{
    type Output = Result<DialStream<A::Response>, DialError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut now = Instant::now();
        // Before `deadline`, which notes the start: from then on the dial is not new.
        if this.context.is_new() && matches!(this.state, State::Resolving(_)) {
            phase::enter(Phase::Dns);
        }
        let deadline = this.context.deadline(now);
        loop {
            let wait = match this.state.poll(cx, &mut this.context, now) {
                Transition::Done(result) => return Poll::Ready(result),
                // Polled in the same turn: until it is, the new state has no waker of this task.
                Transition::Delayed(delay) => {
                    this.state = State::Delayed(delay);
                    continue;
                }
                Transition::Racing(racing) => {
                    this.state = State::Racing(racing);
                    continue;
                }
                Transition::Waiting(until) => until,
            };
            // The answer was asked for first: at a tie it wins.
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Err(this.state.expire(&mut this.context, now)));
            }
            let Some(wake) = wait.into_iter().chain(deadline).min() else {
                return Poll::Pending;
            };
            if this.timer.poll_until(wake, cx).is_pending() {
                return Poll::Pending;
            }
            // The timer has struck: with the old time nothing would be due, and the loop would
            // spin.
            now = Instant::now();
        }
    }
}

impl<F, I, E, A> State<F, A>
where
    F: Future<Output = Result<I, E>>,
    I: IntoIterator<Item = SocketAddr>,
    E: Into<BoxError>,
    A: Service<SocketAddr> + Clone,
    A::Response: Connection,
    A::Error: Into<BoxError>,
{
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        context: &mut Dialling<A>,
        now: Instant,
    ) -> Transition<A> {
        match self {
            Self::Refused(why) => Transition::Done(Err(DialError::refused(*why, context.report()))),
            Self::Unix => Transition::Done(context.dial_unix()),
            Self::Literal(addr) => context.answered([*addr], None, now),
            Self::Resolving(future) => {
                // Round the poll alone: what a resolver announces is for the dial that polls it.
                let (polled, late) = late::listen(|| future.as_mut().poll(cx));
                let Poll::Ready(answer) = polled else {
                    return Transition::Waiting(None);
                };
                // Not the time of the poll, which a resolver that blocks may have taken long in.
                context.resolved(Instant::now());
                match answer {
                    Ok(addrs) => context.answered(addrs, late, now),
                    Err(error) => {
                        Transition::Done(Err(DialError::resolve(error.into(), context.report())))
                    }
                }
            }
            Self::Delayed(delay) => context.wait_for_v6(delay, cx, now),
            Self::Racing(racing) => context.run(racing, cx, now),
        }
    }

    fn expire(&mut self, context: &mut Dialling<A>, now: Instant) -> DialError {
        let mut report = context.report();
        if let Self::Racing(racing) = self {
            report.awaited = racing.awaits_more();
            // Before the report is taken: what had its chance counts as timed out in it.
            racing.end(now);
            (report.attempts, report.failures) = racing.take_report();
        }
        DialError::timed_out(report)
    }
}

impl<F, A: Service<SocketAddr>> fmt::Debug for DialFuture<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialFuture")
            .field("target", self.context.target())
            .finish_non_exhaustive()
    }
}
