//! What drives a connection, and how it begins.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, Write};
use tollgate_core::BoxError;

use crate::connection::conn::Conn;
use crate::connection::driver::Driver;
use crate::connection::guarded::GuardedIo;
use crate::connection::http2::{self, Http2Driver};
use crate::connection::io::PooledIo;
use crate::connection::sender::Http1Sender;
use crate::options::http1::Parser;
use crate::pool::entries::Opened;
use crate::pool::give_back::Place;
use crate::pool::origin_pool::OriginPool;

/// What drives a connection.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one lives as long as its connection, in its task"
)]
pub(crate) enum Driving<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    Http1(Driver<I, Place>),
    /// Boxed, since it is larger and serves many.
    Http2(Box<Http2Driver<GuardedIo<I, Place>>>),
}

impl<I> Future for Driving<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Self::Http1(driver) => Pin::new(driver).poll(cx),
            Self::Http2(driver) => Pin::new(driver).poll(cx),
        }
    }
}

pub(super) type Begun<I> = Result<(Opened, Driving<I>), BoxError>;

pub(super) async fn begin_http1<I>(
    io: PooledIo<I, Place>,
    pool: &OriginPool,
    conn: Arc<Conn>,
) -> Begun<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let (options, parser) = (&pool.shared.config.http1, pool.parser());
    let (sender, connection) = options.builder(parser).handshake(io).await?;
    let hand_over = conn.hand_over.clone();
    let reads_more = (parser == Parser::Quick).then_some(*options);
    let driver = Driver::new(connection, conn, reads_more);
    Ok((
        Opened::Http1(Http1Sender::new(sender, hand_over)),
        Driving::Http1(driver),
    ))
}

pub(super) async fn begin_http2<I>(
    io: GuardedIo<I, Place>,
    pool: &Arc<OriginPool>,
    conn: Arc<Conn>,
) -> Begun<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let options = &pool.shared.config.http2;
    let (streams, leases, driver) = http2::open(io, options, Box::new(pool.clone()), conn).await?;
    Ok((
        Opened::Http2(streams, leases),
        Driving::Http2(Box::new(driver)),
    ))
}
