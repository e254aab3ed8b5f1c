//! What every layer owes its callers, with a probe in the place of the connector.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Empty;
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer};
use tollgate_testing::contract::Contract;
use tollgate_testing::io::Stream;
use tollgate_testing::{CountedIo, Reply, Upstream};
use tower::Layer;

type Call = Request<Empty<Bytes>>;

/// A dial belongs to the pool, not to the caller that caused it, hence detached.
async fn contract(
    layer: KeepAliveLayer,
    host: impl Fn(usize) -> usize + Send + Sync + 'static,
) -> Contract<Call, Uri, CountedIo<Stream>, KeepAlive> {
    let upstream = Arc::new(Upstream::builder().reply(|_| Reply::ok("ok")).start().await);
    let calls = std::sync::atomic::AtomicUsize::new(0);
    Contract::between(
        move |probe| layer.layer(probe),
        move || {
            let n = host(calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            let uri = format!("http://origin-{n}.test/");
            Request::get(uri).body(Empty::new()).unwrap()
        },
        move |_| CountedIo::memory(&upstream),
    )
    .detached()
    .errors_in_chain()
}

/// Each call is for an origin of its own, so that none finds another's connection.
async fn apart() -> Contract<Call, Uri, CountedIo<Stream>, KeepAlive> {
    contract(KeepAliveLayer::new(), |call| call).await
}

/// All calls are for one origin and its one connection, so that whatever one of them leaves behind is
/// in the way of the next.
async fn together() -> Contract<Call, Uri, CountedIo<Stream>, KeepAlive> {
    let one = std::num::NonZeroUsize::MIN;
    contract(KeepAliveLayer::new().max_connections_per_origin(one), |_| 0).await
}

// One clause is left out: it waits, inside the connector, for another call to be answered, and the
// dial of that one is a task which the waiting thread would have to run.
macro_rules! keeps {
    ($contract:ident: $($clause:ident)*) => {
        mod $contract {
            $(
                #[tokio::test(start_paused = true)]
                async fn $clause() {
                    super::$contract().await.$clause().await;
                }
            )*
        }
    };
}

keeps! { apart:
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
    no_lock_is_held_while_someone_is_woken
}

// The clauses about errors are left out: they leave the one origin backing off.
keeps! { together:
    calls_the_instance_that_was_polled_ready
    a_clone_is_not_born_ready
    a_dropped_call_leaves_it_usable
    a_ready_clone_that_is_dropped_gives_back_its_place
    it_is_woken_when_the_inner_service_becomes_ready
    it_is_woken_when_the_answer_comes
    whoever_waits_is_served
    the_turn_of_one_that_left_goes_to_the_next
    no_lock_is_held_while_someone_is_woken
}
