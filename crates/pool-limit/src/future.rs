//! The futures.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tollgate_admission::Demand;
use tollgate_core::{BoxError, Deadline, HasOrigin};
use tower_service::Service;

use crate::release::PermitUntil;
use crate::slot::{Admitted, Slot};
use crate::waiter::{Exchange, PoolLimitPermit, Waiter};

pin_project! {
    /// One request on its way through a [`PoolLimit`](crate::PoolLimit).
    ///
    /// Nothing is asked for before the first poll. Dropping it at any time undoes it: one
    /// that waits is cancelled, a place reserved for it goes to the next, and one in flight
    /// gives its place back after the service's own future was dropped.
    ///
    /// Kept and not polled, it keeps a place that was reserved for it for 250 ms; then that goes to the
    /// next, who is polled for it. For that each that waits looks every 250 ms: 10,000 of them take
    /// about 2 % of a core.
    #[must_use = "futures do nothing unless polled"]
    pub struct PoolLimitFuture<S, Req, U>
    where
        S: Service<Req>,
    {
        slot: Arc<Slot>,
        // Taken for the call.
        call: Option<(S, Req)>,
        #[pin]
        stage: Stage<S::Future, U>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, U> {
        // Start -> Waiting, or Readying if a place was free
        Start,
        // Waiting -> Readying
        Waiting {
            waiter: Waiter,
        },
        // Readying -> Calling
        Readying {
            permit: Option<PoolLimitPermit>,
        },
        Calling {
            #[pin]
            future: ReservedFuture<F, U>,
        },
        // Any -> Done
        Done,
    }
}

/// The result of one step of a [`PoolLimitFuture`].
enum Step<F, U, T> {
    Enter(Stage<F, U>),
    End(Result<T, BoxError>),
}

impl<S: Service<Req>, Req, U> PoolLimitFuture<S, Req, U> {
    pub(crate) const fn new(slot: Arc<Slot>, service: S, request: Req) -> Self {
        Self {
            slot,
            call: Some((service, request)),
            stage: Stage::Start,
        }
    }
}

impl<S, Req, U> PoolLimitFuture<S, Req, U>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    U: PermitUntil<S::Response>,
    Req: HasOrigin,
{
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step<S::Future, U, U::Response>> {
        let this = self.project();
        let origin = || this.call.as_ref().and_then(|(_, request)| request.origin());
        let demand = |now| {
            let request = this.call.as_ref().map(|(_, request)| request);
            let limits = request.map(HasOrigin::limits).unwrap_or_default();
            let deadline = request.and_then(HasOrigin::deadline);
            Demand::new()
                .hard_deadline(deadline.map(Deadline::instant))
                .ends_at(limits.answer_by(now))
        };
        Poll::Ready(match this.stage.project() {
            // At the first poll and not in `call`: a future that is never polled would wait in the
            // line, and be served.
            StageProj::Start => match this.slot.admit(demand, origin) {
                Admitted::Granted(permit) => Step::granted(permit),
                Admitted::Waiting(waiter) => Step::Enter(Stage::Waiting { waiter }),
                Admitted::Refused(refusal) => Step::End(Err(this.slot.error(&refusal, origin))),
            },
            StageProj::Waiting { waiter } => match ready!(waiter.poll(cx)) {
                Ok(permit) => Step::granted(permit),
                Err(refusal) => Step::End(Err(this.slot.error(&refusal, origin))),
            },
            StageProj::Readying { permit } => {
                if let Some((service, _)) = this.call
                    && let Err(error) = ready!(service.poll_ready(cx))
                {
                    return Poll::Ready(Step::End(Err(error.into())));
                }
                let (mut service, request) = this.call.take().expect("it is called once");
                // The call first: if it panics, the permit is still the stage's, and goes back with
                // it.
                let future = ReservedFuture::new(service.call(request), permit.take());
                Step::Enter(Stage::Calling { future })
            }
            StageProj::Calling { future } => Step::End(ready!(future.poll(cx))),
            StageProj::Done => panic!("a PoolLimitFuture is not polled after its end"),
        })
    }
}

impl<F, U, T> Step<F, U, T> {
    const fn granted(permit: PoolLimitPermit) -> Self {
        Self::Enter(Stage::Readying {
            permit: Some(permit),
        })
    }
}

impl<S, Req, U> Future for PoolLimitFuture<S, Req, U>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    U: PermitUntil<S::Response>,
    Req: HasOrigin,
{
    type Output = Result<U::Response, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let step = ready!(self.as_mut().step(cx));
            let mut stage = self.as_mut().project().stage;
            match step {
                Step::Enter(next) => stage.set(next),
                Step::End(result) => {
                    // Before the result is out: a place in the line, or the service's own future,
                    // ends with the stage.
                    stage.set(Stage::Done);
                    return Poll::Ready(result);
                }
            }
        }
    }
}

impl<S: Service<Req>, Req, U> fmt::Debug for PoolLimitFuture<S, Req, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Start => "start",
            Stage::Waiting { .. } => "waiting",
            Stage::Readying { .. } => "readying",
            Stage::Calling { .. } => "calling",
            Stage::Done => "done",
        };
        f.debug_struct("PoolLimitFuture")
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// One request in flight, with its place.
    ///
    /// Dropping it drops the service's future and then gives the place back.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ReservedFuture<F, U> {
        // Before the permit: what the request holds is given up before its place is.
        #[pin]
        future: F,
        permit: Option<PoolLimitPermit>,
        until: PhantomData<U>,
    }
}

impl<F, U> ReservedFuture<F, U> {
    pub(crate) fn new(future: F, mut permit: Option<PoolLimitPermit>) -> Self {
        if let Some(permit) = &mut permit {
            // From here on a drop means that the caller has left, which the queue learns from.
            permit.set(Exchange::Awaited);
        }
        Self {
            future,
            permit,
            until: PhantomData,
        }
    }
}

impl<F, U, R, E> Future for ReservedFuture<F, U>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
    U: PermitUntil<R>,
{
    type Output = Result<U::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.future.poll(cx));
        let mut permit = this.permit.take().expect("it is ready once");
        // Unless what holds it from here on knows better: an exchange of unknown end teaches
        // nothing.
        permit.set(Exchange::Broken);
        Poll::Ready(match result {
            Ok(response) => Ok(U::hold(response, permit)),
            Err(error) => Err(error.into()),
        })
    }
}
