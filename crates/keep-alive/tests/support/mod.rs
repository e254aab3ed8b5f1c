//! What the pool's tests have in common.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part"
)]

use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Full};
use tollgate_core::Origin;
use tollgate_keep_alive::{
    KeepAlive, KeepAliveBody, KeepAliveBodyError, KeepAliveError, KeepAliveLayer, OriginStats,
};
use tollgate_testing::{Connector, Gate, Reply, Upstream, within};
use tower::{Layer, ServiceExt};

/// An upstream whose answer to `/held` waits at the gate.
pub async fn holding(gate: &Gate) -> Upstream {
    let held = gate.clone();
    Upstream::start(move |request| match &*request.target {
        "/held" => Reply::ok("ok").when(&held),
        _ => Reply::ok("ok"),
    })
    .await
}

/// Longer than anything here takes, short enough to wait for when something hangs.
pub const LONG: Duration = Duration::from_secs(30);

pub type Answer = Result<Response<KeepAliveBody>, KeepAliveError>;

/// A pool and the connector below it, whose live sockets are counted.
pub struct Stack {
    pub pool: KeepAlive,
    pub connector: Connector,
    pub origin: Origin,
}

impl Stack {
    pub fn new(upstream: &Upstream, layer: &KeepAliveLayer) -> Self {
        Self::over(Connector::tcp(upstream.addr()), upstream, layer)
    }

    /// Without the kernel, for a clock that stands still.
    pub fn in_memory(upstream: &Upstream, layer: &KeepAliveLayer) -> Self {
        Self::over(Connector::memory(upstream), upstream, layer)
    }

    fn over(connector: Connector, upstream: &Upstream, layer: &KeepAliveLayer) -> Self {
        let pool = layer.layer(connector.clone());
        let origin = upstream.uri("/").to_string().parse().unwrap();
        Self {
            pool,
            connector,
            origin,
        }
    }

    /// The origin's numbers.
    pub fn stats(&self) -> OriginStats {
        self.pool.stats(&self.origin).expect("the origin is known")
    }

    /// Waits, by turns of the runtime, until the numbers are as they should be.
    #[track_caller]
    pub fn settled(
        &self,
        holds: impl Fn(&OriginStats) -> bool,
    ) -> impl Future<Output = OriginStats> {
        let (pool, origin) = (self.pool.clone(), self.origin.clone());
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Duration::from_secs(10);
            let polling = async {
                loop {
                    if let Some(stats) = pool.stats(&origin).filter(&holds) {
                        return stats;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let settled = tokio::time::timeout(deadline, polling).await;
            settled.unwrap_or_else(|_| panic!("{caller}: still {:#?}", pool.stats(&origin)))
        }
    }
}

pub fn cap(n: usize) -> KeepAliveLayer {
    KeepAliveLayer::new()
        .max_connections_per_origin(NonZeroUsize::new(n).unwrap())
        .max_waiting(100_000)
        .acquire_timeout(LONG)
}

pub fn request(method: &str, uri: &Uri) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(method)
        .uri(uri)
        .body(Empty::new())
        .unwrap()
}

pub async fn get(pool: &KeepAlive, uri: &Uri) -> Answer {
    send(pool, request("GET", uri)).await
}

pub async fn post(pool: &KeepAlive, uri: &Uri, body: impl Into<Bytes>) -> Answer {
    let request = Request::post(uri).body(Full::new(body.into())).unwrap();
    send(pool, request).await
}

pub async fn send<B>(pool: &KeepAlive, request: Request<B>) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tollgate_core::BoxError>,
{
    within(LONG, pool.clone().oneshot(request)).await
}

/// Reads a body to its end.
pub async fn read(response: Response<KeepAliveBody>) -> Result<Bytes, KeepAliveBodyError> {
    let collected = within(LONG, response.into_body().collect()).await?;
    Ok(collected.to_bytes())
}

/// A whole exchange.
pub async fn fetch(pool: &KeepAlive, uri: &Uri) -> Result<Bytes, tollgate_core::BoxError> {
    Ok(read(get(pool, uri).await?).await?)
}

/// The demand equation and the gauges of a pool at rest.
#[track_caller]
pub fn assert_at_rest(stats: &OriginStats) {
    let OriginStats {
        granted,
        refused,
        failed,
        timed_out,
        cancelled,
        ..
    } = *stats;
    assert_eq!(
        stats.requests,
        granted + refused + failed + timed_out + cancelled,
        "the counters add up: {stats:#?}"
    );
    assert_eq!(
        (
            stats.active,
            stats.in_flight,
            stats.connecting,
            stats.queued
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(stats.open, stats.idle);
}

/// A small generator, so that a failure can be run again.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}
