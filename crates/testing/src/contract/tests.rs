//! The suite on layers that keep the contract, and on layers that break it each in one way.

mod broken;
mod layers;

use std::pin::Pin;

use futures_util::FutureExt as _;

use super::*;
use broken::{How, broken};

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
    crate::contract_tests!(
        super::contract(|probe| super::layers::Limit::new(probe, 2)).capacity(2)
    );
}

mod a_limit_that_reserves_in_poll_ready {
    crate::contract_tests!(
        super::contract(|probe| super::layers::Reserve::new(probe, 2)).capacity(2)
    );
}

mod a_layer_that_detaches {
    crate::contract_tests!(super::contract(super::layers::Detach).detached());
}

mod the_limit_of_tower {
    use tower::limit::ConcurrencyLimit;

    crate::contract_tests!(super::contract(|probe| ConcurrencyLimit::new(probe, 2)).capacity(2));
}

mod the_timeout_of_tower {
    use std::time::Duration;

    use tower::timeout::Timeout;

    crate::contract_tests!(super::contract(|probe| Timeout::new(
        probe,
        Duration::from_secs(60)
    )));
}

mod a_layer_between_planes {
    use crate::contract::Contract;

    crate::contract_tests!(Contract::between(
        super::layers::Length,
        || "billing".to_owned(),
        |length: &usize| length + 1,
    ));
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_calls_another_instance_is_caught() {
    let contract = broken(How::CallsAClone);
    let text = complaint(contract.calls_the_instance_that_was_polled_ready()).await;
    assert!(text.contains("called without being ready"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn contract_catches_readiness_copied_to_clones() {
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
async fn contract_catches_busy_loops_and_lost_wakeups() {
    let text = complaint(broken(How::Spins).it_is_woken_when_the_answer_comes()).await;
    assert!(text.contains("it spins"), "{text}");
    for how in [How::PollsWithNoWaker, How::KeepsItsFirstWaker] {
        let text = complaint(broken(how).it_is_woken_when_the_answer_comes()).await;
        assert!(text.contains("never woken"), "{how:?}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_hiding_errors_fails_the_contract() {
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
async fn contract_catches_a_layer_ignoring_unreadiness() {
    let contract = broken(How::IgnoresUnreadiness);
    let check = contract.it_is_woken_when_the_inner_service_becomes_ready();
    let text = complaint(check).await;
    assert!(
        text.contains("did not wait for the inner service"),
        "{text}"
    );
}

#[tokio::test]
async fn contract_catches_a_lock_held_over_inner_code() {
    let contract = broken(How::CallsUnderALock);
    let text = complaint(contract.no_lock_is_held_while_inner_code_runs()).await;
    assert!(text.contains("deadlock"), "{text}");
}
