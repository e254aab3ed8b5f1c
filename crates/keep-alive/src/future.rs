//! The future of a call.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{fmt, mem};

use http::{Request, Response};
use hyper::client::conn::TrySendError;

use crate::body::KeepAliveBody;
use crate::erased::ErasedBody;
use crate::error::KeepAliveError;
use crate::exchange::{After, Attempt, Call, Sending};
use crate::lease::Lease;
use crate::origin_pool::Demanded;

type Outcome = Result<Response<KeepAliveBody>, KeepAliveError>;

/// The future of a call through the pool. It does nothing until it is polled.
///
/// Dropping it leaves the queue, or gives back what was granted, or, once the request is on its way,
/// closes that one connection; dials it caused go on and serve others.
#[must_use = "futures do nothing unless polled"]
pub struct KeepAliveFuture(State);

/// New → Sending (an idle connection was there) → Over; New or Sending → Running (it has to wait, or
/// to start again) → Over.
enum State {
    New {
        call: Call,
        request: Request<ErasedBody>,
        lease: Option<Lease>,
    },
    // hyper's future first: it is dropped before the lease that it uses.
    Sending {
        sending: Sending,
        call: Call,
        attempt: Attempt,
    },
    Running(Pin<Box<dyn Future<Output = Outcome> + Send>>),
    Failed(KeepAliveError),
    Over,
}

impl KeepAliveFuture {
    /// A call, on `lease` if the caller has reserved one.
    pub(crate) const fn new(
        call: Call,
        request: Request<ErasedBody>,
        lease: Option<Lease>,
    ) -> Self {
        Self(State::New {
            call,
            request,
            lease,
        })
    }

    pub(crate) const fn failed(error: KeepAliveError) -> Self {
        Self(State::Failed(error))
    }
}

impl State {
    /// Takes the way of an idle connection if there is one; it is worth a way of its own, as nearly
    /// every request takes it.
    fn start(mut call: Call, request: Request<ErasedBody>, lease: Option<Lease>) -> Self {
        let demanded = match lease {
            Some(lease) => Ok(Demanded::Lease(lease)),
            None => call.ask(&request),
        };
        match demanded {
            Ok(Demanded::Lease(lease)) if lease.is_clean() => {
                let (sending, attempt) = call.send(request, lease);
                Self::Sending {
                    sending,
                    call,
                    attempt,
                }
            }
            Ok(demanded) => Self::run(call, request, demanded),
            Err(error) => Self::Failed(error),
        }
    }

    #[cold]
    fn run(call: Call, request: Request<ErasedBody>, demanded: Demanded) -> Self {
        Self::Running(Box::pin(call.run(request, demanded)))
    }

    #[cold]
    fn after(mut call: Call, failure: TrySendError<Request<ErasedBody>>, attempt: Attempt) -> Self {
        match call.after(failure, attempt) {
            After::Fail(error) => Self::Failed(error),
            After::Again(request) => match call.ask_again() {
                Ok(demanded) => Self::run(call, request, demanded),
                Err(error) => Self::Failed(error),
            },
        }
    }
}

impl Future for KeepAliveFuture {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            match &mut self.0 {
                State::Sending { sending, .. } => {
                    let sent = ready!(sending.as_mut().poll(cx));
                    let State::Sending { call, attempt, .. } =
                        mem::replace(&mut self.0, State::Over)
                    else {
                        unreachable!("it is sending")
                    };
                    match sent {
                        Ok(response) => return Poll::Ready(Ok(call.finish(response, attempt))),
                        Err(failure) => self.0 = State::after(call, failure, attempt),
                    }
                }
                State::Running(running) => {
                    let outcome = ready!(running.as_mut().poll(cx));
                    self.0 = State::Over;
                    return Poll::Ready(outcome);
                }
                _ => match mem::replace(&mut self.0, State::Over) {
                    State::New {
                        call,
                        request,
                        lease,
                    } => {
                        self.0 = State::start(call, request, lease);
                    }
                    State::Failed(error) => return Poll::Ready(Err(error)),
                    _ => panic!("a finished call was polled again"),
                },
            }
        }
    }
}

impl fmt::Debug for KeepAliveFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAliveFuture").finish_non_exhaustive()
    }
}
