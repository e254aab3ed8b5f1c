//! The clauses of layers that make callers wait for a place.

#![expect(
    clippy::missing_panics_doc,
    reason = "a clause panics where it is broken: see the module"
)]

use futures_util::future::join_all;
use tollgate_core::BoxError;
use tower_service::Service;

use super::Contract;
use super::act::Act;
use super::checks::expect_ok;
use super::drive::Driven;
use crate::gate::Gate;

impl<Req, InnerReq, Resp, S> Contract<Req, InnerReq, Resp, S>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    /// With a capacity: those that wait are served as places fall free.
    pub async fn whoever_waits_is_served(&self) {
        let Some(capacity) = self.capacity else {
            return;
        };
        let (service, control) = self.set_up();
        let gate = Gate::new();
        let wait = gate.clone();
        control.on_call(move |_| Act::answer().when(&wait));
        let mut calls: Vec<_> = (0..capacity + 3)
            .map(|_| Driven::new(self.exchange(&service)))
            .collect();
        for call in &mut calls {
            assert!(call.rest().await.is_pending());
        }
        gate.open();
        for outcome in join_all(calls.into_iter().map(Driven::finish)).await {
            expect_ok(outcome);
        }
        let peak = control.stats().peak_in_flight;
        assert_eq!(peak, capacity, "so many calls were let through at once");
    }

    /// With a capacity: the turn of a cancelled caller goes to the next.
    pub async fn the_turn_of_one_that_left_goes_to_the_next(&self) {
        let Some(capacity) = self.capacity else {
            return;
        };
        let (service, control) = self.set_up();
        let gate = Gate::new();
        let wait = gate.clone();
        control.on_call(move |nth| match nth {
            nth if nth < capacity => Act::answer().when(&wait),
            _ => Act::answer(),
        });
        let mut calls: Vec<_> = (0..capacity + 2)
            .map(|_| Driven::new(self.exchange(&service)))
            .collect();
        for call in &mut calls {
            assert!(call.rest().await.is_pending());
        }
        let next = calls.pop();
        let leaving = calls.pop();
        // Places fall free, and with them the turn of the one that is cancelled without being polled.
        gate.admit(1);
        let mut served = 0;
        for call in &mut calls {
            served += usize::from(call.rest().await.is_ready());
        }
        assert_eq!(served, 1, "a call that was let through did not end");
        drop(leaving);
        if let Some(next) = next {
            expect_ok(next.finish().await);
        }
        // Those in flight, so that every place is to be free.
        drop(calls);
        self.expect_all_places(&service, &control).await;
    }
}
