//! The layer owes its callers what every layer does.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tollgate_queue_metrics::{QueueMetrics, QueueMetricsLayer};
use tollgate_testing::contract::{Contract, Probe, assert_send, assert_send_sync_clone};
use tower::{Layer, Service};

type Inner<R> = Probe<Request<()>, R>;
type Body = Response<Full<Bytes>>;

fn to_the_bodys_end() -> Contract<Request<()>, Request<()>, Body, impl Measured> {
    let layer = QueueMetricsLayer::new("billing");
    Contract::new(
        move |probe: Inner<Body>| layer.layer(probe),
        || Request::new(()),
        |_| Response::new(Full::from("paid")),
    )
}

fn until_the_head() -> Contract<Request<()>, Request<()>, u32, impl Measured> {
    let layer = QueueMetricsLayer::new("billing").until_head();
    Contract::new(
        move |probe: Inner<u32>| layer.layer(probe),
        || Request::new(()),
        |_| 7,
    )
}

/// What the suite needs of a service.
trait Measured:
    Service<Request<()>, Error: Into<tower::BoxError>, Future: Send, Response: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Measured for S where
    S: Service<Request<()>, Error: Into<tower::BoxError>, Future: Send, Response: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

mod to_the_bodys_end_it_keeps_the_contract {
    tollgate_testing::contract_tests!(super::to_the_bodys_end());
}

mod until_the_head_it_keeps_the_contract {
    tollgate_testing::contract_tests!(super::until_the_head());
}

const _: () = {
    assert_send_sync_clone::<QueueMetrics<Inner<Body>>>();
    assert_send::<<QueueMetrics<Inner<Body>> as Service<Request<()>>>::Future>();
};
