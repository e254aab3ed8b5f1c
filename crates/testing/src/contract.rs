//! What every layer owes its callers, as a suite that takes the layer as a closure.
//!
//! A [`Contract`] has how to put the layer over a [`Probe`], how to make a request, and how the
//! probe answers one. [`contract_tests!`](crate::contract_tests) turns it into one test for each
//! clause, for a layer of any plane:
//!
//! ```
//! # use tollgate_testing::contract::Contract;
//! # use tower_layer::{Identity, Layer as _};
//! # type Clauses = Contract<http::Request<()>, http::Request<()>, http::Response<()>, tollgate_testing::contract::Probe<http::Request<()>, http::Response<()>>>;
//! fn contract() -> Clauses {
//!     Contract::new(
//!         |probe| Identity::new().layer(probe),
//!         || http::Request::new(()),
//!         |_request| http::Response::new(()),
//!     )
//! }
//! mod keeps_the_contract {
//!     tollgate_testing::contract_tests!(super::contract());
//! }
//! ```
//!
//! [`capacity`](Contract::capacity) declares a limit, [`detached`](Contract::detached) of work that
//! outlives its caller, [`errors_in_chain`](Contract::errors_in_chain) of errors that are wrapped. A
//! layer between planes, such as a connector over a resolver, is made with
//! [`between`](Contract::between). For a layer that caches or shares work, let each request differ.
//!
//! # The clauses
//!
//! Each is a function that panics where the clause is broken:
//!
//! * the instance that was polled ready is the one called, and a clone is not born ready;
//! * after a call dropped at any point the service is as it was, with all its places free, and so does
//!   a clone that was ready and never called;
//! * a wake-up arrives, at the waker that polled last, and nothing spins while it waits;
//! * the inner service's errors arrive as themselves, and later calls work;
//! * after a panic below the service is usable;
//! * with a capacity: waiting callers are served, also by the turn of a cancelled one;
//! * no lock is held while inner code, a drop or a wake-up runs: each calls back into the layer.

mod act;
mod checks;
mod control;
mod drive;
mod probe;
mod queue;
mod reentry;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use tollgate_core::BoxError;
use tower_service::Service;

pub use act::{Act, Moment, ProbeError, Readiness};
pub use control::{Control, Stats};
pub use drive::Driven;
pub use probe::{Probe, ProbeFuture};

/// The calls that the checks make at once on a layer without a capacity.
const UNLIMITED: usize = 3;

/// A layer and what it needs to be put through the suite.
pub struct Contract<Req, InnerReq, Resp, S> {
    wrap: Arc<dyn Fn(Probe<InnerReq, Resp>) -> S + Send + Sync>,
    request: Arc<dyn Fn() -> Req + Send + Sync>,
    answer: Arc<dyn Fn(&InnerReq) -> Resp + Send + Sync>,
    capacity: Option<usize>,
    detached: bool,
    errors_in_chain: bool,
}

#[expect(
    clippy::mismatching_type_param_order,
    reason = "the one request type is both"
)]
impl<Req, Resp, S> Contract<Req, Req, Resp, S> {
    /// A layer whose inner service takes the same requests as it.
    pub fn new(
        wrap: impl Fn(Probe<Req, Resp>) -> S + Send + Sync + 'static,
        request: impl Fn() -> Req + Send + Sync + 'static,
        answer: impl Fn(&Req) -> Resp + Send + Sync + 'static,
    ) -> Self {
        Self::between(wrap, request, answer)
    }
}

impl<Req, InnerReq, Resp, S> Contract<Req, InnerReq, Resp, S> {
    /// A layer whose inner service takes other requests than it.
    pub fn between(
        wrap: impl Fn(Probe<InnerReq, Resp>) -> S + Send + Sync + 'static,
        request: impl Fn() -> Req + Send + Sync + 'static,
        answer: impl Fn(&InnerReq) -> Resp + Send + Sync + 'static,
    ) -> Self {
        Self {
            wrap: Arc::new(wrap),
            request: Arc::new(request),
            answer: Arc::new(answer),
            capacity: None,
            detached: false,
            errors_in_chain: false,
        }
    }

    /// The layer lets `n` calls through at once, and makes others wait. Their responses are dropped
    /// at once.
    #[must_use]
    pub fn capacity(mut self, n: usize) -> Self {
        self.capacity = Some(n);
        self
    }

    /// Inner calls go on when their caller is cancelled.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Inner errors arrive as a source of the layer's own.
    #[must_use]
    pub fn errors_in_chain(mut self) -> Self {
        self.errors_in_chain = true;
        self
    }
}

impl<Req, InnerReq, Resp, S> Clone for Contract<Req, InnerReq, Resp, S> {
    fn clone(&self) -> Self {
        Self {
            wrap: Arc::clone(&self.wrap),
            request: Arc::clone(&self.request),
            answer: Arc::clone(&self.answer),
            ..*self
        }
    }
}

impl<Req, InnerReq, Resp, S> fmt::Debug for Contract<Req, InnerReq, Resp, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract")
            .field("capacity", &self.capacity)
            .field("detached", &self.detached)
            .field("errors_in_chain", &self.errors_in_chain)
            .finish_non_exhaustive()
    }
}

impl<Req, InnerReq, Resp, S> Contract<Req, InnerReq, Resp, S>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    /// The layer over a new probe, and the probe's control.
    fn set_up(&self) -> (S, Control) {
        let probe = Probe::with(Arc::clone(&self.answer));
        let control = probe.control();
        ((self.wrap)(probe), control)
    }

    /// Readiness, a call and its answer, which is dropped.
    fn exchange(
        &self,
        service: &S,
    ) -> impl Future<Output = Result<(), BoxError>> + use<Req, InnerReq, Resp, S> {
        let mut service = service.clone();
        let request = (self.request)();
        async move {
            poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(Into::into)?;
            service.call(request).await.map_err(Into::into)?;
            Ok(())
        }
    }

    /// Returns the number of calls that fit in at once.
    fn at_once(&self) -> usize {
        self.capacity.unwrap_or(UNLIMITED)
    }
}

/// Compiles only if `T` can be shared and cloned between threads, as a service must.
pub const fn assert_send_sync_clone<T: Send + Sync + Clone>() {}

/// Compiles only if `T` can be sent to another thread, as a call's future must.
pub const fn assert_send<T: Send>() {}

/// One test for each clause of a [`Contract`](crate::contract::Contract), under a paused clock.
///
/// The argument is an expression that makes the contract; the crate needs tokio's `macros` and
/// `test-util` features in its tests. See the [module](crate::contract) for an example.
#[macro_export]
macro_rules! contract_tests {
    ($contract:expr) => {
        $crate::contract_tests! { @each $contract;
            calls_the_instance_that_was_polled_ready
            a_clone_is_not_born_ready
            a_dropped_call_leaves_it_usable
            a_ready_clone_that_is_dropped_gives_back_its_place
            it_is_woken_when_the_inner_service_becomes_ready
            it_is_woken_when_the_answer_comes
            an_error_of_a_call_passes_through
            an_error_of_poll_ready_passes_through
            a_panic_below_leaves_it_usable
            whoever_waits_is_served
            the_turn_of_one_that_left_goes_to_the_next
            no_lock_is_held_while_inner_code_runs
            no_lock_is_held_while_someone_is_woken
        }
    };
    (@each $contract:expr; $($clause:ident)*) => {
        $(
            #[::tokio::test(start_paused = true)]
            async fn $clause() {
                $contract.$clause().await;
            }
        )*
    };
}
