//! Opening connections. A dial belongs to the pool: no request's end touches it.

mod failures;
mod opening;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tollgate_core::{BoxError, Event, PhaseSlot, phase};
use tower_service::Service;

pub use self::failures::OpenTimedOut;
use self::opening::Opening;
use crate::conn::Conn;
use crate::driver::Driver;
use crate::guarded::GuardedIo;
use crate::http2::{self, Http2Driver};
use crate::io::PooledIo;
use crate::origin_pool::{Opened, OriginPool, Place};

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
    pool.shared.dialer.dial(Opening::new(pool.clone(), now));
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
