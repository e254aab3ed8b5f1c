//! What several of the tests need.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio_test::{assert_ready_ok, task};
use tollgate_core::BoxError;
use tollgate_pool_limit::{
    GateStats, PoolLimitError, PoolLimitErrorKind, PoolLimitLayer, ReservingPoolLimitLayer,
};
use tower::{Layer, Service};
use tower_test::mock;

pub(crate) type Req = Request<()>;
pub(crate) type Mock = mock::Mock<Req, Response<Script>>;
pub(crate) type Handle = mock::Handle<Req, Response<Script>>;

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn get(uri: &str) -> Req {
    Request::get(uri).body(()).unwrap()
}

/// The kind of a refusal.
#[track_caller]
pub(crate) fn refused(error: &BoxError) -> PoolLimitErrorKind {
    let refusal: &PoolLimitError = error.downcast_ref().expect("the limit refused it");
    refusal.kind()
}

/// The limit over a scripted service.
pub(crate) fn over_mock<L: Layer<Mock>>(layer: L) -> (L::Service, Handle) {
    let (service, handle) = mock::pair();
    (layer.layer(service), handle)
}

/// A call that has been polled once.
pub(crate) fn start<S: Service<Req>>(service: &mut S, uri: &str) -> task::Spawn<S::Future> {
    assert_ready_ok!(
        task::spawn(std::future::poll_fn(|cx| service.poll_ready(cx)))
            .poll()
            .map_err(|_| "ready")
    );
    let mut call = task::spawn(service.call(get(uri)));
    assert!(call.poll().is_pending(), "the peer has not answered yet");
    call
}

/// The next request that reached the service below.
pub(crate) fn arrived(handle: &mut Handle) -> Option<mock::SendResponse<Response<Script>>> {
    match task::spawn(handle.next_request()).poll() {
        Poll::Ready(request) => request.map(|(_, respond)| respond),
        Poll::Pending => None,
    }
}

/// `demands = granted + refused + failed + timed_out + cancelled + unanswered`.
pub(crate) fn assert_adds_up(stats: &GateStats) {
    let unanswered = u64::try_from(stats.unanswered).unwrap();
    assert_eq!(
        stats.totals.demands,
        stats.totals.settled() + unanswered,
        "{stats:?}"
    );
}

pub(crate) fn assert_idle(stats: &GateStats) {
    assert_eq!(
        (stats.in_flight, stats.queued, stats.unanswered),
        (0, 0, 0),
        "{stats:?}"
    );
    assert_adds_up(stats);
}

/// A body that yields what it is told to.
#[derive(Debug, Default)]
pub(crate) struct Script {
    frames: VecDeque<Result<Frame<Bytes>, BoxError>>,
    /// Whether it knows of its end before it is polled for it.
    knows_its_end: bool,
    stalls: bool,
}

impl Script {
    pub(crate) fn empty() -> Self {
        Self {
            knows_its_end: true,
            ..Self::default()
        }
    }

    /// Ends, but only says so when polled.
    pub(crate) fn chunked(chunks: &[&'static str]) -> Self {
        let frame = |chunk: &&'static str| Ok(Frame::data(Bytes::from_static(chunk.as_bytes())));
        Self {
            frames: chunks.iter().map(frame).collect(),
            ..Self::default()
        }
    }

    /// Says that it has ended as soon as the last frame is out.
    pub(crate) fn sized(chunks: &[&'static str]) -> Self {
        Self {
            knows_its_end: true,
            ..Self::chunked(chunks)
        }
    }

    pub(crate) fn then(mut self, frame: Result<Frame<Bytes>, BoxError>) -> Self {
        self.frames.push_back(frame);
        self
    }

    /// Has nothing more to say and does not end.
    pub(crate) fn stalled() -> Self {
        Self {
            stalls: true,
            ..Self::default()
        }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.frames.pop_front() {
            None if self.stalls => Poll::Pending,
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let data = self.frames.iter().flatten().filter_map(Frame::data_ref);
        SizeHint::with_exact(data.map(|data| data.len() as u64).sum())
    }
}

pub(crate) fn reserving(limit: usize) -> ReservingPoolLimitLayer {
    PoolLimitLayer::whole_service(limit)
        .unwrap()
        .reserve_in_poll_ready()
}

pub(crate) fn without_queue(limit: usize) -> ReservingPoolLimitLayer {
    PoolLimitLayer::whole_service(limit)
        .unwrap()
        .no_queue()
        .reserve_in_poll_ready()
}

pub(crate) fn ready<S: Service<Req>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    task::spawn(std::future::poll_fn(|cx| service.poll_ready(cx))).poll()
}
