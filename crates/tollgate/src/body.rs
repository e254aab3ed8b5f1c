//! The body of a response, or of a request.

mod read;
mod watches;
mod whole;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tollgate_core::{Origin, Timer, Timings};
use tollgate_keep_alive::KeepAliveBody;

use crate::call_phase::CallPhase;
use crate::error::{Error, ExchangeState};
use crate::future::Destination;
use crate::limits::{End, Kept};
pub(crate) use watches::Watches;

/// The body of a response; also the simplest body of a request, made of text or bytes.
///
/// That of a response holds the connection: read it to its end, or drop it, so that another request
/// can use the connection. Dropping it early costs the connection unless the rest is already at
/// hand. [`collect_within`](Self::collect_within) reads it whole, up to a limit.
///
/// It is an [`http_body::Body`]: [`BodyExt`](crate::BodyExt) collects it without a limit, reads it
/// frame by frame, turns it into a stream and so on.
///
/// ```no_run
/// use tollgate::{Body, BodyExt};
///
/// # async fn example(client: tollgate::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let request = http::Request::post("http://billing.internal/v1/invoices");
/// let response = client.request(request.body(Body::from("{\"cents\": 1200}"))?).await?;
/// let answer = response.into_body().collect_within(1 << 20).await?; // Bytes, 1 MiB at most
///
/// let mut long = client.get("http://billing.internal/v1/export").await?.into_body();
/// while let Some(frame) = long.frame().await {
///     if let Some(data) = frame?.data_ref() {
///         println!("{} bytes", data.len());
///     }
/// }
/// # drop(answer);
/// # Ok(()) }
/// ```
pub struct Body {
    state: State,
    /// `None` without an exchange.
    destination: Option<Destination>,
    clock: Clock,
    /// An error of it is one of a gRPC call.
    grpc: bool,
    /// `None` of a client that watches nothing, and once it is over. Boxed: an answer is large to move.
    watches: Option<Box<Watches>>,
}

enum State {
    Live(KeepAliveBody),
    /// In memory, and not read yet.
    Buffered(Bytes),
    /// It fell silent for too long, and its connection is closed; or it never had one.
    Over(Timings),
}

/// The limits on silence and on the whole exchange, and a timer while the body is waited for.
#[derive(Default)]
struct Clock {
    idle: Option<Duration>,
    whole: Option<End>,
    timer: Timer,
}

impl Body {
    pub(crate) fn new(
        body: KeepAliveBody,
        destination: Option<Destination>,
        limits: Kept,
        watches: Option<Box<Watches>>,
    ) -> Self {
        let clock = Clock {
            idle: limits.body_idle(),
            whole: limits.whole(),
            timer: Timer::new(),
        };
        Self {
            state: State::Live(body),
            destination,
            clock,
            grpc: limits.is_grpc(),
            watches,
        }
    }

    fn in_state(state: State) -> Self {
        Self {
            state,
            destination: None,
            clock: Clock::default(),
            grpc: false,
            watches: None,
        }
    }

    /// Returns the times of this exchange, up to the response head.
    pub fn timings(&self) -> Timings {
        match &self.state {
            State::Live(body) => body.timings(),
            State::Buffered(_) => Timings::default(),
            State::Over(timings) => *timings,
        }
    }

    fn state(&self) -> ExchangeState {
        ExchangeState::of_exchange(origin_of(self.destination.as_ref()), self.timings())
    }
}

impl Default for Body {
    /// An empty body without an exchange: for layers that make responses of their own, as tower-http's
    /// `Timeout` does.
    fn default() -> Self {
        Self::in_state(State::Over(Timings::default()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = self.poll_inner(cx);
        // Over with its end, though the caller may keep the body.
        if let Some(watches) = &self.watches
            && watches.is_over_with(&frame)
        {
            self.watches = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Live(body) => body.is_end_stream(),
            State::Buffered(_) => false,
            State::Over(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Live(body) => body.size_hint(),
            State::Buffered(bytes) => SizeHint::with_exact(bytes.len() as u64),
            State::Over(_) => SizeHint::with_exact(0),
        }
    }
}

impl Body {
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self;
        let body = match &mut this.state {
            State::Live(body) => body,
            State::Buffered(bytes) => {
                let bytes = std::mem::take(bytes);
                this.state = State::Over(Timings::default());
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            State::Over(_) => return Poll::Ready(None),
        };
        if let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(&mut *body), cx) {
            if this.clock.idle.is_some() {
                // The silence is over: the next one counts from the next wait.
                this.clock.timer = Timer::new();
            }
            let destination = &this.destination;
            // Without a status of gRPC's: hyper's error has the reset code, of which tonic makes
            // the right one.
            let told = |error| {
                let state =
                    ExchangeState::of_exchange(origin_of(destination.as_ref()), body.timings());
                Error::body(error, body.since_head(), state)
            };
            return Poll::Ready(frame.map(|frame| frame.map_err(told)));
        }
        // The body before the clock: a frame that is there wins a tie.
        let struck = ready!(this.clock.poll(cx));
        let timings = body.timings();
        // The body goes with its state, and closes the connection: no other request may meet the
        // rest.
        this.state = State::Over(timings);
        let state = ExchangeState::of_exchange(origin_of(this.destination.as_ref()), timings);
        let error = match struck {
            Struck::Idle(limit) => Error::body_timed_out(limit, state),
            Struck::Whole(end) => Error::timed_out(end, state, CallPhase::Body),
        };
        Poll::Ready(Some(Err(error.of_grpc(this.grpc))))
    }
}

fn origin_of(destination: Option<&Destination>) -> Option<Origin> {
    destination.and_then(Destination::origin)
}

/// The limit that ran out.
enum Struck {
    Idle(Duration),
    Whole(End),
}

impl Clock {
    /// Pending for ever without a limit, and then without a timer.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Struck> {
        let Some(at) = self.timer.deadline().or_else(|| self.next_end()) else {
            return Poll::Pending;
        };
        ready!(self.timer.poll_until(at, cx));
        // At a tie the limit on the whole exchange: no further frame would have put that off.
        let whole = self.whole.filter(|end| end.at <= at).map(Struck::Whole);
        let idle = self.idle.map(Struck::Idle);
        whole.or(idle).map_or(Poll::Pending, Poll::Ready)
    }

    /// The silence counts from this wait, not from the last frame: a reader that pauses is no silence of
    /// the peer.
    fn next_end(&self) -> Option<Instant> {
        let idle = self
            .idle
            .and_then(|limit| Instant::now().checked_add(limit));
        let whole = self.whole.map(|end| end.at);
        idle.into_iter().chain(whole).min()
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
