//! One dial, from a URI to a connection.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::Connection;
use tokio::time::{Instant, Sleep};
use tollgate_core::{BoxError, Phase, late, phase};
use tower_service::Service;

use crate::config::Shared;
use crate::dialling::{Dialling, Moved};
use crate::error::DialError;
use crate::heat::Heat;
use crate::held::Held;
use crate::stream::DialStream;
use crate::target::Target;

/// One dial. Dropping it closes every socket that it has not handed over, half open or not.
///
/// It reports to the [`phase`] scope that it is polled in, and needs a tokio runtime with IO and
/// time. What must stay in place is boxed, since hyper-util's legacy client asks for `Unpin`.
#[must_use = "futures do nothing unless polled"]
pub struct DialFuture<F, A: Service<SocketAddr>> {
    state: State<F, A>,
    timer: Option<Pin<Box<Sleep>>>,
    context: Dialling<A>,
}

enum State<F, A: Service<SocketAddr>> {
    // Failed → Failed, never polled again
    Failed(&'static str),
    Unix,
    // Literal → Racing, or an error
    Literal(SocketAddr),
    // Resolving → Held, Racing, or an error
    Resolving(Pin<Box<F>>),
    // Held → Racing
    Held(Held),
    Racing(Heat<A>),
}

impl<F, A: Service<SocketAddr>> Unpin for DialFuture<F, A> {}

impl<F, A: Service<SocketAddr>> DialFuture<F, A> {
    pub(crate) fn invalid(why: &'static str, shared: Arc<Shared>, attempt: A) -> Self {
        Self::new(State::Failed(why), Target::nowhere(), shared, attempt)
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
            timer: None,
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
        if this.context.is_new() && matches!(this.state, State::Resolving(_)) {
            phase::enter(Phase::Dns);
        }
        let deadline = this.context.deadline(now);
        loop {
            let wait = match this.state.poll(cx, &mut this.context, now) {
                Moved::Done(result) => return Poll::Ready(result),
                Moved::Held(held) => {
                    this.state = State::Held(held);
                    continue;
                }
                Moved::Racing(heat) => {
                    this.state = State::Racing(heat);
                    continue;
                }
                Moved::Waits(until) => until,
            };
            // The answer was asked for first: at a tie it wins.
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Err(this.state.expire(&mut this.context, now)));
            }
            let Some(wake) = wait.into_iter().chain(deadline).min() else {
                return Poll::Pending;
            };
            if sleep(&mut this.timer, wake, cx).is_pending() {
                return Poll::Pending;
            }
            now = Instant::now();
        }
    }
}

/// Polls the one timer of the dial, set to `wake`.
fn sleep(timer: &mut Option<Pin<Box<Sleep>>>, wake: Instant, cx: &mut Context<'_>) -> Poll<()> {
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(wake)));
    if timer.deadline() != wake {
        timer.as_mut().reset(wake);
    }
    timer.as_mut().poll(cx)
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
    fn poll(&mut self, cx: &mut Context<'_>, context: &mut Dialling<A>, now: Instant) -> Moved<A> {
        match self {
            Self::Failed(why) => Moved::Done(Err(DialError::invalid_uri(why, context.report()))),
            Self::Unix => Moved::Done(context.dial_unix()),
            Self::Literal(addr) => context.answered([*addr], None, now),
            Self::Resolving(future) => {
                let (polled, late) = late::listen(|| future.as_mut().poll(cx));
                let Poll::Ready(answer) = polled else {
                    return Moved::Waits(None);
                };
                context.resolved(Instant::now());
                match answer {
                    Ok(addrs) => context.answered(addrs, late, now),
                    Err(error) => {
                        Moved::Done(Err(DialError::resolve(error.into(), context.report())))
                    }
                }
            }
            Self::Held(held) => context.hold(held, cx, now),
            Self::Racing(heat) => context.run(heat, cx, now),
        }
    }

    fn expire(&mut self, context: &mut Dialling<A>, now: Instant) -> DialError {
        let mut report = context.report();
        if let Self::Racing(heat) = self {
            report.awaited = heat.awaits_more();
            (report.attempts, report.failures) = heat.expire(now);
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
