//! The response body.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tollgate_core::{Origin, Timings};
use tollgate_keep_alive::KeepAliveBody;

use crate::error::{Error, Place};
use crate::future::Whence;

/// The body of a response.
///
/// It holds the connection: read it to its end, or drop it, so that another request can use the
/// connection. Dropping it early costs the connection unless the rest is already at hand.
///
/// It is an [`http_body::Body`]; `http_body_util::BodyExt` collects it, turns it into a stream and
/// so on.
pub struct Body {
    state: State,
    /// `None` of one that is nobody's.
    whence: Option<Whence>,
    idle: Option<Idle>,
}

enum State {
    Live(KeepAliveBody),
    /// It fell silent for too long, and its connection is closed; or it never had one.
    Over(Timings),
}

/// The limit on silence, and the clock while there is one.
struct Idle {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Body {
    pub(crate) fn new(body: KeepAliveBody, whence: Option<Whence>, idle: Option<Duration>) -> Self {
        Self {
            state: State::Live(body),
            whence,
            idle: idle.map(|limit| Idle { limit, sleep: None }),
        }
    }

    /// Where the time of this exchange went, up to the response head.
    pub fn timings(&self) -> Timings {
        match &self.state {
            State::Live(body) => body.timings(),
            State::Over(timings) => *timings,
        }
    }
}

impl Default for Body {
    /// An empty body, which is nobody's: for layers that make responses of their own, as tower-http's
    /// `Timeout` does.
    fn default() -> Self {
        Self {
            state: State::Over(Timings::default()),
            whence: None,
            idle: None,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let State::Live(body) = &mut this.state else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
            if let Some(idle) = &mut this.idle {
                idle.sleep = None;
            }
            let whence = &this.whence;
            let told = |error| {
                let place = Place::of_exchange(origin_of(whence.as_ref()), body.timings());
                Error::body(error, body.since_head(), place)
            };
            return Poll::Ready(frame.map(|frame| frame.map_err(told)));
        }
        let Some(idle) = &mut this.idle else {
            return Poll::Pending;
        };
        if idle.poll(cx).is_pending() {
            return Poll::Pending;
        }
        let (limit, timings) = (idle.limit, body.timings());
        this.state = State::Over(timings);
        let place = Place::of_exchange(origin_of(this.whence.as_ref()), timings);
        let error = Error::body_timed_out(limit, place);
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Live(body) => body.is_end_stream(),
            State::Over(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Live(body) => body.size_hint(),
            State::Over(_) => SizeHint::with_exact(0),
        }
    }
}

fn origin_of(whence: Option<&Whence>) -> Option<Origin> {
    whence.and_then(Whence::origin)
}

impl Idle {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        sleep.as_mut().poll(cx)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = matches!(self.state, State::Over(_));
        f.debug_struct("Body")
            .field("timings", &self.timings())
            .field("over", &over)
            .finish_non_exhaustive()
    }
}
