//! What the observer and the layer cost a request.
//!
//! `cargo bench -p tollgate-queue-metrics` prints nanoseconds, which depend on the machine. Under
//! callgrind, `overhead CASE COUNT` runs one case so many times: the difference of two counts is
//! what it costs in instructions.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::Empty;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::Instant;
use tollgate_core::{Event, ExchangeEnd, NoObserver, Observer, Origin};
use tollgate_queue_metrics::{PoolMetrics, QueueMetricsLayer};
use tower::{Layer, Service, service_fn};

const ROUNDS: u32 = 1_000_000;
const CASES: [&str; 6] = [
    "no observer",
    "pool hit",
    "pool hit, 100 origins",
    "pool wait",
    "bare service",
    "layer",
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    if let (Some(case), Some(count)) = (arguments.next(), arguments.next()) {
        run(&case, count.parse().expect("a count"));
        return;
    }
    for recorder in [false, true] {
        println!("{} a recorder:", if recorder { "with" } else { "without" });
        let table = || CASES.iter().for_each(|case| time(case));
        if recorder {
            metrics::with_local_recorder(&PrometheusBuilder::new().build_recorder(), table);
        } else {
            table();
        }
    }
}

fn time(case: &str) {
    run(case, ROUNDS / 10);
    let best = (0..5).map(|_| {
        let start = Instant::now();
        run(case, ROUNDS);
        start.elapsed()
    });
    let best = best.min().unwrap_or_default();
    println!(
        "{case:24} {:6.1} ns",
        best.as_secs_f64() * 1e9 / f64::from(ROUNDS)
    );
}

fn run(case: &str, count: u32) {
    let origin: Origin = "https://billing.test".parse().expect("an origin");
    let metrics = PoolMetrics::new();
    match case {
        "no observer" => hits(&NoObserver::default(), &origin, Duration::ZERO, count),
        "pool hit" => hits(&metrics, &origin, Duration::ZERO, count),
        "pool hit, 100 origins" => {
            for i in 0..99 {
                let other = format!("https://{i}.test").parse().expect("an origin");
                hits(&metrics, &other, Duration::ZERO, 1);
            }
            hits(&metrics, &origin, Duration::ZERO, count);
        }
        "pool wait" => hits(&metrics, &origin, Duration::from_millis(3), count),
        "bare service" => calls(service_fn(reply), count),
        "layer" => calls(
            QueueMetricsLayer::new("billing").layer(service_fn(reply)),
            count,
        ),
        other => panic!("{other} is none of {CASES:?}"),
    }
}

fn hits(observer: &impl Observer, origin: &Origin, waited: Duration, count: u32) {
    let held = Duration::from_micros(700);
    for _ in 0..count {
        if !waited.is_zero() {
            observer.on_event(black_box(&Event::Queued { origin, ahead: 0 }));
        }
        observer.on_event(black_box(&Event::Granted {
            origin,
            waited,
            dial: Duration::ZERO,
            reused: true,
        }));
        observer.on_event(black_box(&Event::Released {
            origin,
            held,
            end: ExchangeEnd::Whole,
        }));
    }
}

type Reply = Result<Response<Empty<&'static [u8]>>, Infallible>;

fn reply(_: Request<()>) -> Ready<Reply> {
    ready(Ok(Response::new(Empty::new())))
}

fn calls<S: Service<Request<()>>>(mut service: S, count: u32) {
    for _ in 0..count {
        let call = service.call(Request::new(()));
        drop(black_box(call.now_or_never()));
    }
}
