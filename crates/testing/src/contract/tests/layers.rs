//! Layers that keep the contract.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::*;

/// Queues inside the call, and polls the inner service ready there.
#[derive(Clone)]
pub(super) struct Limit {
    inner: Inner,
    places: Arc<Semaphore>,
}

impl Limit {
    pub(super) fn new(inner: Inner, n: usize) -> Self {
        let places = Arc::new(Semaphore::new(n));
        Self { inner, places }
    }
}

impl Service<u32> for Limit {
    type Response = u32;
    type Error = BoxError;
    type Future = Boxed<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        let (mut inner, places) = (self.inner.clone(), Arc::clone(&self.places));
        Box::pin(async move {
            let _place = places.acquire().await?;
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            Ok(inner.call(request).await?)
        })
    }
}

/// Takes a place in `poll_ready`, as tower's limit does.
pub(super) struct Reserve {
    inner: Inner,
    places: Arc<Semaphore>,
    waiting: Option<Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send + Sync>>>,
    place: Option<OwnedSemaphorePermit>,
}

impl Reserve {
    pub(super) fn new(inner: Inner, n: usize) -> Self {
        Self::over(inner, Arc::new(Semaphore::new(n)))
    }

    fn over(inner: Inner, places: Arc<Semaphore>) -> Self {
        let (waiting, place) = (None, None);
        Self {
            inner,
            places,
            waiting,
            place,
        }
    }
}

impl Clone for Reserve {
    fn clone(&self) -> Self {
        Self::over(self.inner.clone(), Arc::clone(&self.places))
    }
}

impl Service<u32> for Reserve {
    type Response = u32;
    type Error = ProbeError;
    type Future = Boxed<Result<u32, ProbeError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        if self.place.is_none() {
            let places = Arc::clone(&self.places);
            let waiting = self.waiting.get_or_insert_with(|| {
                Box::pin(async move { places.acquire_owned().await.unwrap() })
            });
            self.place = Some(ready!(waiting.as_mut().poll(cx)));
            self.waiting = None;
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        let place = self.place.take().expect("called without being ready");
        let call = self.inner.call(request);
        Box::pin(async move {
            let outcome = call.await;
            drop(place);
            outcome
        })
    }
}

/// Lets the inner call go on without its caller.
#[derive(Clone)]
pub(super) struct Detach(pub(super) Inner);

impl Service<u32> for Detach {
    type Response = u32;
    type Error = BoxError;
    type Future = Boxed<Result<u32, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        let call = tokio::spawn(self.0.call(request));
        Box::pin(async move { Ok(call.await??) })
    }
}

/// Takes text, and asks the inner service about its length.
#[derive(Clone)]
pub(super) struct Length(pub(super) Probe<usize, usize>);

impl Service<String> for Length {
    type Response = usize;
    type Error = ProbeError;
    type Future = ProbeFuture<usize>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: String) -> Self::Future {
        self.0.call(request.len())
    }
}
