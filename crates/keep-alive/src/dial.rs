//! One dial: a connector run to its connection, on a runtime of the pool's choice. It knows neither
//! pools nor requests, and no request's end touches it.

mod assume_tls;
pub(crate) mod connector;
pub(crate) mod errors;

use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tollgate_core::{BoxError, ConnectTimedOut, PhaseSlot, phase};
use tower_service::Service;

pub use self::assume_tls::{AssumeTls, AssumeTlsFuture, AssumeTlsStream};
use crate::dial::connector::Connector;

/// The side of a dial that it is made for. Dropped without a word, it is withdrawn.
pub(crate) trait Opening: Send + Sync + Sized + 'static {
    /// The URI to call the connector with.
    fn uri(&self) -> http::Uri;

    /// The longest time for all of it.
    fn limit(&self) -> Duration;

    /// Returns true if the limit is only a default, which a longer budget of the connector replaces.
    fn gives_way(&self) -> bool;

    /// Takes note that the limit gave way to `budget`, from now on.
    fn extended(&self, budget: Duration);

    /// The time to wait before it begins.
    fn pause(&self) -> Option<Duration>;

    /// Returns true if the peer requires HTTP/1.1, which a TLS layer is asked for.
    fn wants_http1(&self) -> bool;

    /// Drives a connection to its end.
    type Driving<I>: Future<Output = ()> + Send
    where
        I: Read + Write + Connection + Unpin + Send + 'static;

    /// Takes the connection over, within the time that is `left`; `None` if it is of no use.
    fn connected<I>(
        self,
        io: I,
        left: Duration,
    ) -> impl Future<Output = Option<Self::Driving<I>>> + Send
    where
        I: Read + Write + Connection + Unpin + Send + 'static;

    /// Takes note of a dial that came to nothing.
    fn failed(self, error: BoxError);
}

/// A connector, its type forgotten.
pub(crate) trait Dialer<O>: Send + Sync {
    /// Runs a dial on `runtime`, on a task of its own.
    fn dial(&self, runtime: &Handle, opening: O);
}

/// Dials with a clone of a connector.
pub(crate) struct ConnectorDialer<C>(Arc<C>);

impl<C> ConnectorDialer<C> {
    pub(crate) fn new(connector: C) -> Self {
        Self(Arc::new(connector))
    }
}

impl<C, O> Dialer<O> for ConnectorDialer<C>
where
    C: Connector,
    O: Opening,
{
    fn dial(&self, runtime: &Handle, opening: O) {
        // A runtime that is ending drops what it is given, and with that the opening is withdrawn.
        drop(runtime.spawn(run(self.0.clone(), opening)));
    }
}

/// One connection from its dial to its end: the task of its dial becomes its driver.
async fn run<C, O>(connector: Arc<C>, opening: O)
where
    C: Service<http::Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
    O: Opening,
{
    if let Some(pause) = opening.pause() {
        sleep(pause).await;
    }
    // After the pause, which is not the connector's time.
    let mut clock = Clock::start(&opening);
    match connect(connector, &opening, &mut clock).await {
        Ok(io) => {
            // Driven here, and not within: each poll of the connection would go through one more future.
            if let Some(driving) = opening.connected(io, clock.left_above()).await {
                driving.await;
            }
        }
        Err(error) => opening.failed(error),
    }
}

/// Calls the connector, within the time there is. Its panic is an error like any other, and known to be
/// its own.
async fn connect<C, O>(
    connector: Arc<C>,
    opening: &O,
    clock: &mut Clock,
) -> Result<C::Response, BoxError>
where
    C: Service<http::Uri> + Clone,
    C::Error: Into<BoxError>,
    O: Opening,
{
    let uri = opening.uri();
    // Boxed, and dropped with this: the memory that a dial needs is not held for the connection's life, and
    // what it has to report to a DNS cache comes before its failure is known.
    let mut connecting = Box::pin(async move {
        let mut connector = C::clone(&connector);
        poll_fn(|cx| connector.poll_ready(cx))
            .await
            .map_err(Into::into)?;
        connector.call(uri).await.map_err(Into::into)
    });
    let mut late = pin!(sleep(clock.limit));
    poll_fn(|cx| {
        // Before each poll: a layer below starts its own limits by it.
        clock.slot.set_left(clock.left());
        let poll = || phase::scope(&clock.slot, || connecting.as_mut().poll(cx));
        // A panic that went on would pass for the end of this runtime: dialled for anew, and no
        // error for any caller.
        let polled = panic::catch_unwind(AssertUnwindSafe(poll));
        let polled = polled.unwrap_or_else(|_| Poll::Ready(Err("the connector panicked".into())));
        // Before the clock: a connection that is ready at the end of its time is one.
        if polled.is_ready() {
            return polled;
        }
        if let Some(budget) = clock.give_way() {
            opening.extended(budget);
            // From now on, as the budget is: it began in this poll.
            late.set(sleep(budget));
        }
        ready!(late.as_mut().poll(cx));
        Poll::Ready(Err(clock.timed_out().into()))
    })
    .await
}

/// The clock of one dial.
struct Clock {
    slot: PhaseSlot,
    started: Instant,
    limit: Duration,
    /// The limit is only a default, and no budget below has replaced it.
    gives_way: bool,
}

impl Clock {
    fn start(opening: &impl Opening) -> Self {
        let (slot, gives_way) = (PhaseSlot::new(), opening.gives_way());
        if opening.wants_http1() {
            slot.ask_for_http1();
        }
        Self {
            slot: if gives_way { slot.giving_way() } else { slot },
            started: Instant::now(),
            limit: opening.limit(),
            gives_way,
        }
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }

    /// Lengthens a default limit to the budget of the connector, once; returns that unless it is shorter.
    ///
    /// Also if it is as long: this limit may have been learnt from a dial that began at the same time,
    /// after this one was noted with the default.
    fn give_way(&mut self) -> Option<Duration> {
        let budget = self.slot.budget_below().filter(|_| self.gives_way)?;
        self.gives_way = false;
        let limit = self.started.elapsed().saturating_add(budget);
        (limit >= self.limit).then(|| {
            self.limit = limit;
            budget
        })
    }

    /// The time for the peer's first word: what a budget below has left, or else the pool's own.
    fn left_above(&self) -> Duration {
        let own = self.left();
        self.slot.remaining().map_or(own, |left| left.min(own))
    }

    fn timed_out(&self) -> ConnectTimedOut {
        let elapsed = self.started.elapsed();
        ConnectTimedOut::new(self.slot.phase(), self.limit, elapsed)
            .with_attempts(self.slot.attempts())
    }
}
