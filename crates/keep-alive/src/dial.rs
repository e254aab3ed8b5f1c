//! Opening connections. A dial belongs to the pool: no request's end touches it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tollgate_core::{BoxError, ConnectErrorKind, DialInfo, Event, Phase, PhaseSlot, phase};
use tower_service::Service;

use crate::conn::Conn;
use crate::driver::Driver;
use crate::guarded::GuardedIo;
use crate::http2::{self, Http2Driver};
use crate::io::PooledIo;
use crate::origin_pool::{Opened, OriginPool, Place};
use crate::protocol::Protocol;

/// Starts as many dials as there is unmet demand and room for.
pub(crate) fn start(pool: &Arc<OriginPool>) {
    // Bounded, since a runtime that is shutting down drops what it is given at once, and the demand
    // for it is as it was.
    for _ in 0..pool.shared.config.max_connecting_per_origin.get() {
        let wanted = pool.with(|inner| inner.engine.wants_open(Instant::now()));
        if !wanted || !pool.shared.take_place(pool) {
            return;
        }
        if !start_with_place(pool) {
            pool.shared.place_free();
            return;
        }
    }
}

/// Starts a dial for which a place was taken; `false` if it is not wanted any more, and the place is
/// still the caller's.
pub(crate) fn start_with_place(pool: &Arc<OriginPool>) -> bool {
    let now = Instant::now();
    if !pool.with(|inner| inner.engine.start_open(now)) {
        return false;
    }
    // Before there is a connection: an origin that can never be reached is to be forgotten too.
    pool.shared.maintenance.ensure(&pool.shared);
    pool.observe(|| Event::ConnectStarted {
        origin: &pool.origin,
    });
    pool.shared.dialer.dial(Opening {
        pool: pool.clone(),
        started: now,
        settled: false,
    });
    true
}

/// A connector, its type forgotten.
pub(crate) trait Dialer: Send + Sync {
    fn dial(&self, opening: Opening);
}

/// Dials with a clone of a connector, on a task of its own.
pub(crate) struct ConnectorDialer<C>(pub(crate) C);

impl<C> Dialer for ConnectorDialer<C>
where
    C: Service<http::Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    fn dial(&self, opening: Opening) {
        // Without a runtime the opening is dropped here, and with that withdrawn.
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(run(self.0.clone(), opening)));
        }
    }
}

/// One connection from its dial to its end: the task of its dial becomes its driver.
async fn run<C>(connector: C, opening: Opening)
where
    C: Service<http::Uri> + Send + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    let limit = opening
        .pool
        .shared
        .config
        .connect_timeout(&opening.pool.origin);
    let uri = opening.pool.uri.clone();
    let slot = PhaseSlot::new();
    // Boxed, so that the memory a dial needs is not held for the connection's life.
    let mut connecting = Box::pin(async move {
        let mut connector = connector;
        poll_fn(|cx| connector.poll_ready(cx))
            .await
            .map_err(Into::into)?;
        connector.call(uri).await.map_err(Into::into)
    });
    let started = Instant::now();
    let connecting = poll_fn(|cx| phase::scope(&slot, || connecting.as_mut().poll(cx)));
    match timeout(limit, connecting).await {
        Ok(Ok(io)) => match opening.connected(io, left_of(limit, started, &slot)).await {
            Some(Driving::OneByOne(driver)) => driver.await,
            Some(Driving::Streams(driver)) => driver.await,
            None => {}
        },
        Ok(Err(error)) => opening.failed(error),
        Err(_) => {
            let late = OpenTimedOut::new(slot.phase(), started.elapsed());
            opening.failed(Box::new(late));
        }
    }
}

/// What the peer's first word may still take: what a budget below has left, or else the pool's own.
fn left_of(limit: Duration, started: Instant, slot: &PhaseSlot) -> Duration {
    let own = limit.saturating_sub(started.elapsed());
    slot.remaining().map_or(own, |left| left.min(own))
}

/// What drives a connection.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one lives as long as its connection, in its task"
)]
enum Driving<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    OneByOne(Driver<I>),
    /// Boxed, since it is larger and serves many.
    Streams(Box<Http2Driver<I>>),
}

type Begun<I> = Result<(Opened, Driving<I>), BoxError>;

async fn begin_one_by_one<I>(io: PooledIo<I, Place>, conn: Arc<Conn>) -> Begun<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new().handshake(io).await?;
    let driver = Driver::new(connection, conn);
    Ok((Opened::OneByOne(sender), Driving::OneByOne(driver)))
}

async fn begin_streams<I>(
    io: GuardedIo<I, Place>,
    pool: &Arc<OriginPool>,
    conn: Arc<Conn>,
) -> Begun<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let options = &pool.shared.config.http2;
    let (streams, leases, driver) = http2::open(io, options, pool.clone(), conn).await?;
    Ok((
        Opened::Streams(streams, leases),
        Driving::Streams(Box::new(driver)),
    ))
}

/// A dial in progress. Dropped unsettled, it is withdrawn.
pub(crate) struct Opening {
    pool: Arc<OriginPool>,
    started: Instant,
    settled: bool,
}

impl Opening {
    /// The connector delivered.
    async fn connected<I>(mut self, io: I, left: Duration) -> Option<Driving<I>>
    where
        I: Read + Write + Connection + Unpin + Send + 'static,
    {
        let pool = self.pool.clone();
        let connected = io.connected();
        let agreed = connected.is_negotiated_h2();
        let has_streams = match pool.shared.config.protocol {
            Protocol::Http1 if agreed => {
                self.failed(Box::new(NotHttp1));
                return None;
            }
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => agreed,
        };
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        let conn = Arc::new(Conn::new(
            pool.shared.next_connection(),
            Instant::now(),
            dial_info(&extras),
            has_streams,
        ));
        let place = Place {
            origin: pool.clone(),
            conn: conn.clone(),
        };
        let begun = if has_streams {
            let io = GuardedIo::new(io, place);
            let opening = Box::pin(begin_streams(io, &pool, conn.clone()));
            if let Ok(begun) = timeout(left, opening).await {
                begun
            } else {
                let late = OpenTimedOut::new(Phase::Preface, self.started.elapsed());
                Err(BoxError::from(late))
            }
        } else {
            let io = PooledIo::new(io, conn.io.clone(), place);
            begin_one_by_one(io, conn.clone()).await
        };
        let (opened, driving) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.failed(error);
                return None;
            }
        };
        self.settled = true;
        pool.learn_protocol(has_streams);
        pool.observe(|| Event::Opened {
            origin: &pool.origin,
            connection: conn.number,
            dial: &conn.dial,
            elapsed: self.started.elapsed(),
        });
        pool.with(|inner| inner.opened_locked(&conn, opened));
        // There is room for another dial now, and nobody else may look for a while.
        start(&pool);
        pool.shared.demand_changed(&pool);
        Some(driving)
    }

    fn failed(mut self, error: BoxError) {
        self.fail(error);
    }

    fn fail(&mut self, error: BoxError) {
        self.settled = true;
        self.tell_failed(&*error);
        let pool = &self.pool;
        let error = Arc::new(error);
        pool.with(|inner| inner.engine.open_failed(Instant::now(), error));
        pool.shared.place_free();
        start(pool);
        pool.shared.demand_changed(pool);
        pool.shared.maintenance.poke();
    }

    fn tell_failed(&self, error: &(dyn std::error::Error + Send + Sync + 'static)) {
        self.pool.observe(|| Event::ConnectFailed {
            origin: &self.pool.origin,
            kind: ConnectErrorKind::of(error),
            error,
            elapsed: self.started.elapsed(),
        });
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if std::thread::panicking() {
            self.fail("the connector panicked".into());
            return;
        }
        // The runtime of this dial ended. Those who wait may be on another one: the first of them is
        // woken and dials there.
        self.tell_failed(&Abandoned);
        self.pool
            .with(|inner| inner.engine.open_abandoned(Instant::now()));
        self.pool.shared.place_free();
    }
}

/// A dial ended with the runtime that it ran on, or found none.
#[derive(Debug)]
struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tokio runtime of this dial ended before the dial did; whoever waits dials anew on its own")
    }
}

impl std::error::Error for Abandoned {}

/// What the connector says of its dial: ours says all, hyper-util's the addresses.
fn dial_info(extras: &http::Extensions) -> DialInfo {
    if let Some(info) = extras.get::<DialInfo>() {
        return info.clone();
    }
    let mut info = DialInfo::default();
    if let Some(http) = extras.get::<HttpInfo>() {
        info.remote = Some(http.remote_addr());
        info.local = Some(http.local_addr());
    }
    info
}

/// A connection was not open within the time that was left for it: the connector's budget and then
/// what that left for the peer's first word of HTTP/2, or the pool's own limit on both.
///
/// Its source is an [`io::Error`] of kind [`TimedOut`](io::ErrorKind::TimedOut).
#[derive(Debug)]
pub struct OpenTimedOut {
    phase: Phase,
    took: Duration,
    /// Where the chain of sources ends, for classifiers that look for the kind.
    timed_out: io::Error,
}

impl OpenTimedOut {
    fn new(phase: Phase, took: Duration) -> Self {
        Self {
            phase,
            took,
            timed_out: io::ErrorKind::TimedOut.into(),
        }
    }

    /// Where it stood: [`Phase::Preface`] if the peer never began HTTP/2, else what the connector
    /// said last.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// How long it took, from the start of the dial.
    pub const fn elapsed(&self) -> Duration {
        self.took
    }
}

impl fmt::Display for OpenTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (took, phase) = (self.took, self.phase.label());
        write!(f, "no connection after {took:?}, in phase {phase}; ")?;
        f.write_str(match self.phase {
            Phase::Preface => "check that the peer speaks HTTP/2, or raise connect_timeout",
            _ => "raise connect_timeout, or look at the path",
        })
    }
}

impl std::error::Error for OpenTimedOut {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.timed_out)
    }
}

/// The connector agreed on HTTP/2 with the peer, which this pool does not speak.
#[derive(Debug)]
struct NotHttp1;

impl fmt::Display for NotHttp1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connector negotiated HTTP/2 for a pool that speaks HTTP/1.1 only; offer only http/1.1 by ALPN, or let the pool speak both")
    }
}

impl std::error::Error for NotHttp1 {}
