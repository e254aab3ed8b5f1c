//! The clauses that run on one thread.

#![expect(
    clippy::missing_panics_doc,
    reason = "a clause panics where it is broken: see the module"
)]

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tollgate_core::BoxError;
use tower_service::Service;

use super::act::{Act, ProbeError, Readiness};
use super::control::Control;
use super::drive::{Driven, settle};
use super::{Contract, poll_fn};
use crate::gate::Gate;

impl<Req, InnerReq, Resp, S> Contract<Req, InnerReq, Resp, S>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    /// The instance that was polled ready is the one called, also when it was cloned in between.
    pub async fn calls_the_instance_that_was_polled_ready(&self) {
        let (mut service, control) = self.set_up();
        for _ in 0..3 {
            ready(&mut service).await;
            let clone = service.clone();
            drop(Driven::new(service.call((self.request)())).finish().await);
            service = clone;
        }
        control.assert_used_well();
        assert!(
            control.stats().calls > 0,
            "the inner service was never called"
        );
    }

    /// A clone of a ready service is not ready itself.
    pub async fn a_clone_is_not_born_ready(&self) {
        let (mut service, control) = self.set_up();
        ready(&mut service).await;
        let clone = service.clone();
        // Its reservation goes with it: under a limit of one that is the place the clone needs.
        drop(service);
        expect_ok(Driven::new(self.exchange(&clone)).finish().await);
        control.assert_used_well();
    }

    /// Calls dropped before their first poll, in the queue, and in flight leave all places free.
    pub async fn a_dropped_call_leaves_it_usable(&self) {
        let (service, control) = self.set_up();
        let closed = Gate::new();
        let stuck = closed.clone();
        control.on_call(move |_| Act::answer().when(&stuck));
        // Two more than fit in, so that some are dropped while they wait.
        let mut calls: Vec<_> = (0..self.at_once() + 2)
            .map(|_| Driven::new(self.exchange(&service)))
            .collect();
        for call in &mut calls {
            assert!(call.rest().await.is_pending());
        }
        let mut unpolled = service.clone();
        if Driven::new(poll_fn(|cx| unpolled.poll_ready(cx)))
            .rest()
            .await
            .is_ready()
        {
            drop(unpolled.call((self.request)()));
        }
        drop((calls, unpolled));
        if !self.detached {
            settle().await;
            let left = control.stats().in_flight;
            assert_eq!(
                left, 0,
                "inner calls in flight though all callers have left"
            );
        }
        closed.open();
        self.expect_all_places(&service, &control).await;
    }

    /// Clones that became ready, or wait to, and are dropped uncalled leave all places free.
    pub async fn a_ready_clone_that_is_dropped_gives_back_its_place(&self) {
        let (service, control) = self.set_up();
        let mut clones = vec![service.clone(); self.at_once() + 2];
        for clone in &mut clones {
            drop(Driven::new(poll_fn(|cx| clone.poll_ready(cx))).rest().await);
        }
        // In the order in which they came: each hands its place to one that is dropped next.
        for clone in clones {
            drop(clone);
        }
        self.expect_all_places(&service, &control).await;
    }

    /// A caller that waits for an inner service is woken when that is ready.
    pub async fn it_is_woken_when_the_inner_service_becomes_ready(&self) {
        let (service, control) = self.set_up();
        let gate = Gate::new();
        control.ready(Readiness::When(gate.clone()));
        let mut exchange = Driven::new(self.exchange(&service));
        assert!(
            exchange.rest().await.is_pending(),
            "it did not wait for the inner service"
        );
        assert_eq!(
            control.stats().calls,
            0,
            "the inner service was called while not ready"
        );
        gate.open();
        expect_ok(exchange.finish().await);
        control.assert_used_well();
    }

    /// A caller that waits for an answer is woken when it comes, by the waker of its last poll.
    pub async fn it_is_woken_when_the_answer_comes(&self) {
        let (service, control) = self.set_up();
        let gate = Gate::new();
        let wait = gate.clone();
        control.on_call(move |_| Act::answer().when(&wait));
        let mut exchange = Driven::new(self.exchange(&service));
        assert!(exchange.rest().await.is_pending());
        // As when the future moves to another task: a layer that kept the first waker loses this
        // wake-up.
        exchange.new_waker();
        assert!(exchange.rest().await.is_pending());
        gate.open();
        expect_ok(exchange.finish().await);
    }

    /// An error of an inner call arrives, and the next call works.
    pub async fn an_error_of_a_call_passes_through(&self) {
        let (service, control) = self.set_up();
        control.on_call(|_| Act::fail());
        let outcome = Driven::new(self.exchange(&service)).finish().await;
        self.expect_error(outcome, ProbeError::InCall);
        self.expect_all_places(&service, &control).await;
    }

    /// An error of the inner `poll_ready` arrives, and later calls of another clone work.
    pub async fn an_error_of_poll_ready_passes_through(&self) {
        let (service, control) = self.set_up();
        control.ready(Readiness::Fails);
        let outcome = Driven::new(self.exchange(&service)).finish().await;
        self.expect_error(outcome, ProbeError::InPollReady);
        assert_eq!(
            control.stats().calls,
            0,
            "the inner service was called though it failed"
        );
        control.ready(Readiness::Now);
        self.expect_all_places(&service, &control).await;
    }

    /// Panics of the inner service, in `call` and in its future, leave all places free.
    pub async fn a_panic_below_leaves_it_usable(&self) {
        let (service, control) = self.set_up();
        // More panics of each kind than there are places, so that one which keeps its place shows.
        for n in 0..2 * (self.at_once() + 1) {
            control.on_call(move |_| {
                if n % 2 == 0 {
                    Act::panic()
                } else {
                    Act::panic_in_call()
                }
            });
            let call = Driven::new(self.exchange(&service)).finish();
            let outcome = AssertUnwindSafe(call).catch_unwind().await;
            assert!(
                !matches!(outcome, Ok(Ok(()))),
                "an answer came out of a panic"
            );
        }
        self.expect_all_places(&service, &control).await;
    }

    /// As many calls as there are places get through at once, and all are answered.
    pub(super) async fn expect_all_places(&self, service: &S, control: &Control) {
        let gate = Gate::new();
        let wait = gate.clone();
        control.on_call(move |_| Act::answer().when(&wait));
        let (places, before) = (self.at_once(), control.stats().calls);
        let through = async {
            // Detached work of earlier calls may serve these, so there is nothing to count.
            if !self.detached {
                let all = control.becomes(|now| now.calls - before >= places).await;
                let free = control.stats().calls - before;
                assert!(all, "only {free} of {places} places are free: one was lost");
            }
            gate.open();
        };
        let calls = (0..places).map(|_| Driven::new(self.exchange(service)).finish());
        let (outcomes, ()) = futures_util::future::join(join_all(calls), through).await;
        for outcome in outcomes {
            expect_ok(outcome);
        }
        control.assert_used_well();
    }

    fn expect_error(&self, outcome: Result<(), BoxError>, expected: ProbeError) {
        let Err(error) = outcome else {
            panic!("an answer came out of {expected:?}");
        };
        let found = if self.errors_in_chain {
            tollgate_core::error::find::<ProbeError>(&*error)
        } else {
            error.downcast_ref::<ProbeError>()
        };
        assert_eq!(
            found,
            Some(&expected),
            "the inner error arrived as {error:?}"
        );
    }
}

async fn ready<Req, S: Service<Req>>(service: &mut S)
where
    S::Error: Into<BoxError>,
{
    let outcome = Driven::new(poll_fn(|cx| service.poll_ready(cx)))
        .finish()
        .await;
    expect_ok(outcome.map_err(Into::into));
}

pub(super) fn expect_ok(outcome: Result<(), BoxError>) {
    if let Err(error) = outcome {
        panic!("a call failed that nothing stood in the way of: {error:?}");
    }
}
