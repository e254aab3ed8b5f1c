//! Random calls, answers, cancellations and changes against what must always hold.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use common::{Handle, Mock, Script, arrived, assert_adds_up, assert_idle, get, ms, over_mock};
use http::Response;
use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio_test::task;
use tollgate_pool_limit::{BodyEnd, PoolLimit, PoolLimitBody, PoolLimitFuture, PoolLimitLayer};
use tower::Service;
use tower_test::mock::SendResponse;

const HOSTS: [&str; 2] = ["http://a.test", "http://b.test"];

#[derive(Clone, Copy, Debug)]
enum Op {
    Call(usize),
    Poll(usize),
    DropCall(usize),
    Answer(usize),
    FailAnswer(usize),
    ReadBody(usize),
    DropBody(usize),
    Advance(u64),
    Limit(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..HOSTS.len()).prop_map(Op::Call),
        4 => (0..16usize).prop_map(Op::Poll),
        2 => (0..16usize).prop_map(Op::DropCall),
        3 => (0..16usize).prop_map(Op::Answer),
        1 => (0..16usize).prop_map(Op::FailAnswer),
        1 => (0..16usize).prop_map(Op::ReadBody),
        1 => (0..16usize).prop_map(Op::DropBody),
        1 => (0..80u64).prop_map(Op::Advance),
        1 => (1..4usize).prop_map(Op::Limit),
    ]
}

type Call = task::Spawn<PoolLimitFuture<Mock, common::Req, BodyEnd>>;

struct World {
    service: PoolLimit<Mock>,
    peer: Handle,
    limit: usize,
    calls: Vec<(Call, bool)>,
    reached: Vec<SendResponse<Response<Script>>>,
    bodies: Vec<PoolLimitBody<Script>>,
}

fn pick<T>(from: &mut Vec<T>, nth: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(nth % from.len()))
}

impl World {
    fn new() -> Self {
        let layer = PoolLimitLayer::per_origin(2).unwrap();
        let (service, peer) = over_mock(layer.max_waiting(3).acquire_timeout(ms(100)));
        Self {
            service,
            peer,
            limit: 2,
            calls: Vec::new(),
            reached: Vec::new(),
            bodies: Vec::new(),
        }
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Call(host) => {
                let call = task::spawn(self.service.call(get(HOSTS[host])));
                self.calls.push((call, false));
            }
            Op::Poll(nth) => self.poll(nth),
            Op::DropCall(nth) => drop(pick(&mut self.calls, nth)),
            Op::Answer(nth) => {
                if let Some(respond) = pick(&mut self.reached, nth) {
                    respond.send_response(Response::new(Script::chunked(&["x"])));
                }
            }
            Op::FailAnswer(nth) => {
                if let Some(respond) = pick(&mut self.reached, nth) {
                    respond.send_error("reset");
                }
            }
            Op::ReadBody(nth) => {
                if let Some(body) = pick(&mut self.bodies, nth) {
                    body.collect().await.unwrap();
                }
            }
            Op::DropBody(nth) => drop(pick(&mut self.bodies, nth)),
            Op::Advance(by) => tokio::time::advance(ms(by)).await,
            Op::Limit(limit) => {
                self.limit = limit;
                self.service.handle().reconfigure(limit).unwrap();
            }
        }
    }

    fn poll(&mut self, nth: usize) {
        if self.calls.is_empty() {
            return;
        }
        let nth = nth % self.calls.len();
        let (call, polled) = &mut self.calls[nth];
        let had_a_reason = call.is_woken() || !*polled;
        *polled = true;
        let answer = call.poll();
        let arrivals: Vec<_> = std::iter::from_fn(|| arrived(&mut self.peer)).collect();
        let moved = answer.is_ready() || !arrivals.is_empty();
        assert!(had_a_reason || !moved, "it could go on and was not woken");
        self.reached.extend(arrivals);
        if answer.is_ready() {
            drop(self.calls.swap_remove(nth));
        }
        if let std::task::Poll::Ready(Ok(response)) = answer {
            self.bodies.push(response.into_body());
        }
    }

    fn check(&self, before: &[usize; 2]) -> [usize; 2] {
        assert_adds_up(&self.service.handle().total());
        let mut now = [0; 2];
        for (host, (was, now)) in HOSTS.iter().zip(before.iter().zip(&mut now)) {
            let Some(stats) = self.service.handle().origin(&host.parse().unwrap()) else {
                continue;
            };
            assert_adds_up(&stats);
            assert!(
                stats.in_flight <= self.limit.max(*was),
                "over the limit: {stats:?}"
            );
            assert!(stats.queued <= 3, "over max_waiting: {stats:?}");
            let idle_place = stats.in_flight < self.limit && stats.queued > 0;
            assert!(!idle_place, "a place is free and somebody waits: {stats:?}");
            *now = stats.in_flight;
        }
        now
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_operations_keep_limit_and_counters_true(
        ops in prop::collection::vec(op(), 1..150)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(tokio::task::unconstrained(async {
            let mut world = World::new();
            let mut in_flight = [0; 2];
            for op in ops {
                world.step(op).await;
                in_flight = world.check(&in_flight);
            }
            let handle = world.service.handle();
            drop(world);
            assert_idle(&handle.total());
        }));
    }
}
