//! The task of one connection: runs hyper, collects a parked lease, ends on request.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::client::conn::http1::Connection;
use hyper::rt::{Read, Write};
use tollgate_core::CloseReason;

use crate::conn::Conn;
use crate::erased::ErasedBody;
use crate::io::{CLOSING, PooledIo, TUNNEL};
use crate::lease::Lease;
use crate::origin_pool::Place;

type Io<I> = PooledIo<I, Place>;

/// Drives one connection until it closes.
pub(crate) struct Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    // Before `conn`: when this is dropped, hyper's end of the sender is closed, and a lease that is
    // still parked can be settled.
    exchange: Exchange<I>,
    conn: Arc<Conn>,
    ended: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "one lives as long as its connection, in its task"
)]
enum Exchange<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    Http(Connection<Io<I>, ErasedBody>),
    /// hyper does not name the type of a connection that may be upgraded.
    Upgradeable(Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>),
    /// hyper has ended within an exchange, and only the lease hears why: the place waits for its word.
    Ended(Io<I>),
    Over,
}

impl<I> Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    pub(crate) fn new(connection: Connection<Io<I>, ErasedBody>, conn: Arc<Conn>) -> Self {
        Self {
            exchange: Exchange::Http(connection),
            conn,
            ended: false,
        }
    }

    /// Why hyper ended the connection; `None` if the lease knows more: of an exchange, in which hyper
    /// tells only the caller what went wrong, and of what may have become a tunnel.
    fn reason_of(&self, result: &hyper::Result<()>) -> Option<CloseReason> {
        let conn = &self.conn;
        let reason = match result {
            _ if conn.io.unsolicited() => CloseReason::Unsolicited,
            Err(error) if is_unexpected_message(error) => CloseReason::Unsolicited,
            Ok(()) if conn.may_become_tunnel() => return conn.suspected(),
            Ok(()) if conn.io.in_exchange() => return None,
            _ if conn.suspected().is_some() => return conn.suspected(),
            // hyper takes a connection that has served nobody for one in the middle of a message.
            Err(error) if error.is_incomplete_message() && !conn.io.in_exchange() => {
                CloseReason::PeerEof
            }
            Err(error) if is_end(error) && !conn.io.in_exchange() => CloseReason::PeerEof,
            Err(_) => CloseReason::Error,
            Ok(()) => CloseReason::PeerEof,
        };
        Some(reason)
    }

    #[cold]
    fn poll_end(&mut self, result: &hyper::Result<()>) -> Poll<()> {
        if let Some(reason) = self.reason_of(result) {
            self.conn.set_reason(reason);
        } else if self.exchange.keep_io() {
            // Noted before the look: a lease that is given back after it sees the note.
            self.conn.io.note_closing();
            self.collect_parked();
            if self.conn.io.in_exchange() {
                return self.poll_verdict();
            }
            self.conn.set_reason(CloseReason::PeerEof);
        }
        self.ended = true;
        Poll::Ready(())
    }

    /// Waits for the reason, which the lease gives at the latest when it ends, and then wakes.
    fn poll_verdict(&mut self) -> Poll<()> {
        self.ended = self.conn.reason().is_some();
        if self.ended {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    #[inline]
    fn collect_parked(&self) {
        if let Some(lease) = self.conn.parked.collect(Lease::is_settled) {
            lease.give_back();
        }
    }
}

impl<I> Future for Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Exchange::Ended(_) = self.exchange {
            return self.poll_verdict();
        }
        // Read first: a wish that arrives while hyper runs comes with a wake-up of its own.
        let wishes = self.conn.io.wishes();
        if wishes & TUNNEL != 0 {
            self.exchange.allow_upgrade();
        }
        let polled = self.exchange.poll(cx);
        self.collect_parked();
        match polled {
            Poll::Ready(result) => self.poll_end(&result),
            Poll::Pending if wishes & CLOSING != 0 => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<I> Drop for Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        // Only a runtime that ends drops a driver that has not ended.
        if !self.ended {
            self.conn.set_reason(CloseReason::Shutdown);
        }
        self.exchange = Exchange::Over;
        self.collect_parked();
    }
}

impl<I> Exchange<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self {
            Self::Http(connection) => Pin::new(connection).poll(cx),
            Self::Upgradeable(connection) => connection.as_mut().poll(cx),
            Self::Ended(_) | Self::Over => Poll::Ready(Ok(())),
        }
    }

    /// Keeps only the IO object of a connection that hyper has ended; `false` where hyper has it.
    fn keep_io(&mut self) -> bool {
        let kept = matches!(self, Self::Http(_));
        *self = match mem::replace(self, Self::Over) {
            Self::Http(connection) => Self::Ended(connection.into_parts().io),
            other => other,
        };
        kept
    }

    fn allow_upgrade(&mut self) {
        *self = match mem::replace(self, Self::Over) {
            Self::Http(connection) => Self::Upgradeable(Box::pin(connection.with_upgrades())),
            other => other,
        };
    }
}

/// Whether the peer just closed: what HTTP/2 calls a broken pipe, TLS an unexpected end.
pub(crate) fn is_end(error: &hyper::Error) -> bool {
    tollgate_core::error::find::<io::Error>(error).is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
        )
    })
}

/// hyper has no predicate for bytes it did not ask for; every other kind has one or has a source.
fn is_unexpected_message(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_none()
        && !(error.is_parse()
            || error.is_user()
            || error.is_canceled()
            || error.is_closed()
            || error.is_incomplete_message()
            || error.is_timeout())
}
