//! The contract that every layer keeps, in each mode.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

use http::{Request, Response};
use http_body_util::Empty;
use tollgate_pool_limit::{PoolLimit, PoolLimitLayer, ReservingPoolLimit};
use tollgate_testing::contract::{Contract, Probe};
use tower::Layer;

type Req = Request<()>;
type Resp = Response<Empty<&'static [u8]>>;
type Inner = Probe<Req, Resp>;

const LIMIT: usize = 3;

fn suite<S>(wrap: impl Fn(Inner) -> S + Send + Sync + 'static) -> Contract<Req, Req, Resp, S> {
    let request = || Request::get("http://billing.test").body(()).unwrap();
    Contract::new(wrap, request, |_| Response::new(Empty::new())).capacity(LIMIT)
}

fn queueing() -> Contract<Req, Req, Resp, PoolLimit<Inner>> {
    suite(|probe| PoolLimitLayer::per_origin(LIMIT).unwrap().layer(probe))
}

fn reserving() -> Contract<Req, Req, Resp, ReservingPoolLimit<Inner>> {
    suite(|probe| {
        let layer = PoolLimitLayer::whole_service(LIMIT).unwrap();
        layer.reserve_in_poll_ready().layer(probe)
    })
}

fn reserving_without_a_queue() -> Contract<Req, Req, Resp, ReservingPoolLimit<Inner>> {
    suite(|probe| {
        let layer = PoolLimitLayer::whole_service(LIMIT).unwrap().no_queue();
        layer.reserve_in_poll_ready().layer(probe)
    })
}

mod queueing_in_the_call_keeps_the_contract {
    tollgate_testing::contract_tests!(super::queueing());
}

mod reserving_in_poll_ready_keeps_the_contract {
    tollgate_testing::contract_tests!(super::reserving());
}

mod reserving_without_a_queue_keeps_the_contract {
    tollgate_testing::contract_tests!(super::reserving_without_a_queue());
}
