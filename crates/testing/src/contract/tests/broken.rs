//! A layer that breaks the contract in one way at a time.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;

use super::*;

/// A layer made of functions, most of which do as they should.
pub(super) struct Broken {
    inner: Inner,
    ready: bool,
    how: How,
    shared: Arc<Mutex<Inner>>,
    places: Arc<Semaphore>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum How {
    CallsAClone,
    CopiesReadiness,
    LeaksItsPlaceWhenDropped,
    LeaksItsPlaceInAPanic,
    Spins,
    PollsWithNoWaker,
    KeepsItsFirstWaker,
    WrapsErrors,
    SwallowsErrors,
    CallsUnderALock,
    IgnoresUnreadiness,
}

#[derive(Debug)]
struct Wrapped(ProbeError);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Clone for Broken {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            ready: self.ready && self.how == How::CopiesReadiness,
            how: self.how,
            shared: Arc::clone(&self.shared),
            places: Arc::clone(&self.places),
        }
    }
}

pub(super) fn broken(how: How) -> Contract<u32, u32, u32, Broken> {
    contract(move |inner| Broken {
        ready: false,
        how,
        shared: Arc::new(Mutex::new(inner.clone())),
        places: Arc::new(Semaphore::new(3)),
        inner,
    })
}

impl Service<u32> for Broken {
    type Response = u32;
    type Error = BoxError;
    type Future = Boxed<Result<u32, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.how {
            How::IgnoresUnreadiness => return Poll::Ready(Ok(())),
            How::CallsUnderALock => {
                return self
                    .shared
                    .lock()
                    .unwrap()
                    .poll_ready(cx)
                    .map_err(Into::into);
            }
            _ if self.ready => return Poll::Ready(Ok(())),
            _ => {}
        }
        ready!(self.inner.poll_ready(cx))?;
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.ready = false;
        let how = self.how;
        let places = Arc::clone(&self.places);
        if matches!(
            how,
            How::LeaksItsPlaceWhenDropped | How::LeaksItsPlaceInAPanic
        ) {
            let clone = self.inner.clone();
            let mut inner = std::mem::replace(&mut self.inner, clone);
            return Box::pin(async move {
                let place = places.acquire().await?;
                if how == How::LeaksItsPlaceInAPanic {
                    let outcome = inner
                        .call(request)
                        .map(|outcome| outcome.map_err(Into::into));
                    return GivesBack(outcome, Some(place)).await;
                }
                place.forget();
                let outcome = inner.call(request).await;
                places.add_permits(1);
                Ok(outcome?)
            });
        }
        let mut call = match how {
            How::CallsAClone => self.inner.clone().call(request),
            How::CallsUnderALock => self.shared.lock().unwrap().call(request),
            _ => self.inner.call(request),
        };
        let mut first: Option<Waker> = None;
        Box::pin(async move {
            let outcome = poll_fn(|cx| match how {
                How::Spins => {
                    cx.waker().wake_by_ref();
                    call.poll_unpin(cx)
                }
                How::PollsWithNoWaker => call.poll_unpin(&mut Context::from_waker(Waker::noop())),
                How::KeepsItsFirstWaker => {
                    let waker = first.get_or_insert_with(|| cx.waker().clone());
                    call.poll_unpin(&mut Context::from_waker(waker))
                }
                _ => call.poll_unpin(cx),
            });
            match outcome.await {
                Err(error) if how == How::WrapsErrors => Err(Wrapped(error).into()),
                Err(_) if how == How::SwallowsErrors => Ok(0),
                outcome => Ok(outcome?),
            }
        })
    }
}

/// Gives its place back at the end of its work, but not when that panics.
struct GivesBack<'a, F>(F, Option<tokio::sync::SemaphorePermit<'a>>);

impl<F: Future + Unpin> Future for GivesBack<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<F> Drop for GivesBack<'_, F> {
    fn drop(&mut self) {
        if let (true, Some(place)) = (std::thread::panicking(), self.1.take()) {
            place.forget();
        }
    }
}
