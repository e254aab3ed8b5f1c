//! The future of a call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Response, Uri};
use tokio::time::{Sleep, sleep};
use tollgate_core::Origin;
use tollgate_keep_alive::KeepAliveFuture;

use crate::body::Body;
use crate::error::{Error, Place};
use crate::settings::Settings;

/// The limits of an exchange that the pool does not keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    response: Option<Duration>,
    body_idle: Option<Duration>,
}

impl Limits {
    pub(crate) const fn of(settings: &Settings) -> Self {
        Self {
            response: settings.response_timeout,
            body_idle: settings.body_idle_timeout,
        }
    }

    /// The limits of this request: a gRPC call brings one of its own.
    #[cfg(feature = "tonic")]
    pub(crate) fn of_call<B>(self, request: &http::Request<B>) -> Self {
        let own = crate::grpc::timeout(request.headers());
        let response = match (self.response, own) {
            (Some(ours), Some(own)) => Some(ours.min(own)),
            (ours, own) => ours.or(own),
        };
        Self { response, ..self }
    }

    #[cfg(not(feature = "tonic"))]
    #[inline]
    pub(crate) const fn of_call<B>(self, _: &http::Request<B>) -> Self {
        self
    }
}

/// Where an exchange goes, for an error that may never be: an origin is made of a URI only then.
#[derive(Clone, Debug)]
pub(crate) enum Whence {
    Uri(Uri),
    Origin(Origin),
}

impl Whence {
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
/// Dropping it leaves the queue, gives back what was granted, or closes the one connection that its
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
    whence: Option<Whence>,
    limits: Limits,
    /// Made at the first wait.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl ResponseFuture {
    pub(crate) const fn new(call: KeepAliveFuture, whence: Whence, limits: Limits) -> Self {
        Self(State::Running(Running {
            call,
            whence: Some(whence),
            limits,
            sleep: None,
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
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Body>, Error>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.call).poll(cx) {
            return Poll::Ready(match outcome {
                Ok(response) => {
                    let (whence, idle) = (self.whence.take(), self.limits.body_idle);
                    Ok(response.map(|body| Body::new(body, whence, idle)))
                }
                Err(error) => Err(Error::pool(error)),
            });
        }
        let Some(limit) = self.limits.response else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        sleep.as_mut().poll(cx).map(|()| {
            let origin = self.whence.as_ref().and_then(Whence::origin);
            let place = Place::of_call(origin, &self.call);
            Err(Error::response_timed_out(limit, place))
        })
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
