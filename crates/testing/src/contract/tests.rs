//! The suite on layers that keep the contract, and on layers that break it each in one way.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::*;

type Inner = Probe<u32, u32>;
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

fn contract<S>(wrap: impl Fn(Inner) -> S + Send + Sync + 'static) -> Contract<u32, u32, u32, S> {
    Contract::new(wrap, || 7, |request| request + 1)
}

/// The panic of a check that must fail.
async fn complaint(check: impl Future<Output = ()>) -> String {
    let outcome = std::panic::AssertUnwindSafe(check).catch_unwind().await;
    let panic = outcome.expect_err("the check should have failed");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    }
}

mod no_layer_at_all {
    crate::contract_tests!(super::contract(|probe| probe));
}

mod a_limit_that_queues_in_the_call {
    crate::contract_tests!(super::contract(|probe| super::Limit::new(probe, 2)).capacity(2));
}

mod a_limit_that_reserves_in_poll_ready {
    crate::contract_tests!(super::contract(|probe| super::Reserve::new(probe, 2)).capacity(2));
}

mod a_layer_that_detaches {
    crate::contract_tests!(super::contract(super::Detach).detached());
}

/// Queues inside the call, and polls the inner service ready there.
#[derive(Clone)]
struct Limit {
    inner: Inner,
    places: Arc<Semaphore>,
}

impl Limit {
    fn new(inner: Inner, n: usize) -> Self {
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
struct Reserve {
    inner: Inner,
    places: Arc<Semaphore>,
    waiting: Option<Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send + Sync>>>,
    place: Option<OwnedSemaphorePermit>,
}

impl Reserve {
    fn new(inner: Inner, n: usize) -> Self {
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
struct Detach(Inner);

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

/// A layer made of functions, most of which do as they should.
struct Broken {
    inner: Inner,
    ready: bool,
    how: How,
    shared: Arc<Mutex<Inner>>,
    places: Arc<Semaphore>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
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

fn broken(how: How) -> Contract<u32, u32, u32, Broken> {
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

#[tokio::test(start_paused = true)]
async fn a_layer_that_calls_another_instance_is_caught() {
    let contract = broken(How::CallsAClone);
    let text = complaint(contract.calls_the_instance_that_was_polled_ready()).await;
    assert!(text.contains("called without being ready"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_layer_whose_clones_are_born_ready_is_caught() {
    let text = complaint(broken(How::CopiesReadiness).a_clone_is_not_born_ready()).await;
    assert!(text.contains("called without being ready"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_loses_places_is_caught() {
    let cancelled = broken(How::LeaksItsPlaceWhenDropped).capacity(3);
    let text = complaint(cancelled.a_dropped_call_leaves_it_usable()).await;
    assert!(text.contains("0 of 3 places are free"), "{text}");
    let panicked = broken(How::LeaksItsPlaceInAPanic).capacity(3);
    let text = complaint(panicked.a_panic_below_leaves_it_usable()).await;
    assert!(
        text.contains("never woken") || text.contains("places are free"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_spins_or_sleeps_through_its_wake_up_is_caught() {
    let text = complaint(broken(How::Spins).it_is_woken_when_the_answer_comes()).await;
    assert!(text.contains("it spins"), "{text}");
    for how in [How::PollsWithNoWaker, How::KeepsItsFirstWaker] {
        let text = complaint(broken(how).it_is_woken_when_the_answer_comes()).await;
        assert!(text.contains("never woken"), "{how:?}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_hides_errors_is_caught_unless_they_are_in_the_chain() {
    let wrapping = broken(How::WrapsErrors);
    let text = complaint(wrapping.an_error_of_a_call_passes_through()).await;
    assert!(text.contains("arrived as Wrapped(InCall)"), "{text}");
    wrapping
        .errors_in_chain()
        .an_error_of_a_call_passes_through()
        .await;
    let text = complaint(broken(How::SwallowsErrors).an_error_of_a_call_passes_through()).await;
    assert!(text.contains("an answer came out of InCall"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_does_not_ask_for_readiness_is_caught() {
    let contract = broken(How::IgnoresUnreadiness);
    let check = contract.it_is_woken_when_the_inner_service_becomes_ready();
    let text = complaint(check).await;
    assert!(
        text.contains("did not wait for the inner service"),
        "{text}"
    );
}

#[tokio::test]
async fn a_layer_that_holds_a_lock_over_inner_code_is_caught() {
    let contract = broken(How::CallsUnderALock);
    let text = complaint(contract.no_lock_is_held_while_inner_code_runs()).await;
    assert!(text.contains("deadlock"), "{text}");
}
