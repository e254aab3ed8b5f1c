//! Several threads, with real races: nobody is lost and nothing leaks.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Req, Script, assert_idle, get};
use futures_util::future::{Either, select};
use http::Response;
use tokio::task::{JoinSet, yield_now};
use tollgate_core::BoxError;
use tollgate_pool_limit::PoolLimitLayer;
use tollgate_testing::{DEADLINE, within};
use tower::{Layer, Service, ServiceExt, service_fn};

const LIMIT: usize = 4;
const TASKS: usize = 64;
const REQUESTS: usize = 200;

#[derive(Clone, Default)]
struct Running {
    now: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
}

impl Running {
    fn enter(&self) -> Left {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        Left(Arc::clone(&self.now))
    }
}

struct Left(Arc<AtomicUsize>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn service(
    running: Running,
) -> impl Service<
    Req,
    Response = Response<Script>,
    Error = BoxError,
    Future = impl Future<Output = Result<Response<Script>, BoxError>> + Send,
> + Clone
+ Send {
    service_fn(move |_| {
        let running = running.clone();
        async move {
            let _left = running.enter();
            yield_now().await;
            Ok(Response::new(Script::chunked(&["x"])))
        }
    })
}

/// Each task makes requests and gives up on every third one after a moment.
async fn flood<S>(limited: S)
where
    S: Service<Req, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
{
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let limited = limited.clone();
        tasks.spawn(async move {
            for nth in 0..REQUESTS {
                let call = Box::pin(limited.clone().oneshot(get("http://a.test")));
                if (task + nth) % 3 > 0 {
                    drop(call.await.expect("it waits its turn"));
                } else if let Either::Left((response, _)) =
                    select(call, Box::pin(yield_now())).await
                {
                    drop(response);
                }
            }
        });
    }
    within(DEADLINE, tasks.join_all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_queueing_in_the_call_lose_no_place() {
    let running = Running::default();
    let limited = PoolLimitLayer::per_origin(LIMIT).unwrap();
    let limited = limited.layer(service(running.clone()));
    let handle = limited.handle();
    flood(limited).await;
    assert!(running.peak.load(Ordering::SeqCst) <= LIMIT);
    assert_idle(&handle.total());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_reserving_in_poll_ready_lose_no_place() {
    for max_waiting in [0, 1024] {
        let running = Running::default();
        let limited = PoolLimitLayer::whole_service(LIMIT).unwrap();
        let limited = limited.max_waiting(max_waiting).reserve_in_poll_ready();
        let limited = limited.layer(service(running.clone()));
        let handle = limited.handle();
        flood(limited).await;
        assert!(running.peak.load(Ordering::SeqCst) <= LIMIT);
        assert_idle(&handle.total());
    }
}
