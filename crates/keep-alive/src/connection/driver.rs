//! The task of one connection: runs hyper, collects a parked lease, ends on request.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::client::conn::http1::{Builder, Connection};
use hyper::rt::{Read, Write};
use tollgate_core::CloseReason;

use crate::connection::conn::Conn;
use crate::connection::erased::ErasedBody;
use crate::connection::io::{ASKED, CLOSING, PooledIo, TUNNEL};
use crate::connection::parked::{Parked, Unread};
use crate::connection::reread::{Asked, Rewound};
use crate::options::http1::{Http1Options, Parser};

/// Drives one connection until it closes.
pub(crate) struct Driver<I, G>
where
    I: Read + Write + Unpin + Send + 'static,
    G: Unpin + Send + 'static,
{
    // Before `conn`: when this is dropped, hyper's end of the sender is closed, and a lease that is
    // still parked can be settled.
    exchange: Exchange<I, G>,
    conn: Arc<Conn>,
    /// The options to read a head again that has more fields; `None` if as many were read at once.
    reads_more: Option<Http1Options>,
    /// The answer to a caller that has gone.
    unread: Option<Box<dyn Unread>>,
    ended: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "one lives as long as its connection, in its task"
)]
enum Exchange<I, G>
where
    I: Read + Write + Unpin + Send + 'static,
    G: Unpin + Send + 'static,
{
    Http(Connection<PooledIo<I, G>, ErasedBody>),
    /// hyper does not name the type of a connection that may be upgraded.
    Upgradeable(Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>),
    /// hyper has ended within an exchange, and only the lease hears why: the place waits for its word. With
    /// what was not taken of the peer's bytes.
    Ended(PooledIo<I, G>, Bytes),
    /// These are read again.
    Again(Box<Connection<Rewound<PooledIo<I, G>>, ErasedBody>>),
    Over,
}

impl<I, G> Driver<I, G>
where
    I: Read + Write + Unpin + Send + 'static,
    G: Unpin + Send + 'static,
{
    pub(crate) fn new(
        connection: Connection<PooledIo<I, G>, ErasedBody>,
        conn: Arc<Conn>,
        reads_more: Option<Http1Options>,
    ) -> Self {
        Self {
            exchange: Exchange::Http(connection),
            conn,
            reads_more,
            unread: None,
            ended: false,
        }
    }

    /// Why hyper ended the connection; `None` if the lease knows more: of an exchange, in which hyper
    /// tells only the caller what went wrong, and of what may have become a tunnel.
    fn reason_of(&self, result: &hyper::Result<()>) -> Option<CloseReason> {
        let conn = &self.conn;
        let reason = match result {
            _ if conn.io.unsolicited() => CloseReason::Unsolicited,
            _ if conn.io.peer_timed_out() => CloseReason::PeerClose,
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
    fn poll_end(&mut self, result: &hyper::Result<()>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(reason) = self.reason_of(result) {
            self.conn.set_reason(reason);
        } else if self.keep_io() {
            // Noted before the look: a lease that is given back after it sees the note.
            self.conn.io.note_closing();
            self.collect_parked(cx);
            if self.conn.io.in_exchange() {
                return self.poll_verdict(cx);
            }
            self.conn.set_reason(CloseReason::PeerEof);
        }
        self.ended = true;
        Poll::Ready(())
    }

    /// Waits for the reason, which the lease gives at the latest when it ends, and then wakes. Until then
    /// it may ask for the head to be read again.
    fn poll_verdict(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.ended = self.conn.reason().is_some();
        if self.ended {
            // Out of hyper's second half too, if it reads again: the goodbye is said on the IO itself.
            self.keep_io();
            self.exchange.say_goodbye(cx);
            return Poll::Ready(());
        }
        if let Some(asked) = self.conn.again.take()
            && let Some(options) = &self.reads_more
        {
            self.exchange
                .read_again(&options.builder(Parser::Generous), asked, cx);
        }
        if let Exchange::Again(connection) = &mut self.exchange
            && Pin::new(&mut **connection).poll(cx).is_ready()
        {
            self.keep_io();
        }
        Poll::Pending
    }

    /// Keeps only the IO object of a connection that is over; `false` where hyper has it.
    fn keep_io(&mut self) -> bool {
        let hand_over = self.conn.hand_over.clone();
        // hyper's half that takes requests is dropped by this, and none may be on its way into it.
        let _held = hand_over.hold();
        self.exchange.keep_io()
    }

    /// Takes back a lease that is settled, and takes in the answer that no caller waits for.
    #[inline]
    fn collect_parked(&mut self, cx: &mut Context<'_>) {
        if let Some(lease) = self.conn.parked.collect(|lease| lease.is_of_driver()) {
            self.take_parked(lease);
        }
        // In the same turn as it was taken: no waker of this task waits for the answer before.
        if let Some(answer) = &mut self.unread
            && answer.poll(cx).is_ready()
        {
            self.unread = None;
        }
    }

    #[cold]
    fn take_parked(&mut self, lease: Box<dyn Parked>) {
        if let Some(answer) = lease.take_answer_in() {
            self.unread = Some(answer);
        }
    }
}

impl<I, G> Future for Driver<I, G>
where
    I: Read + Write + Unpin + Send + 'static,
    G: Unpin + Send + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Exchange::Ended(..) | Exchange::Again(_) = self.exchange {
            self.collect_parked(cx);
            return self.poll_verdict(cx);
        }
        // Read first: a wish that arrives while hyper runs comes with a wake-up of its own.
        let flags = self.conn.io.flags();
        if flags & TUNNEL != 0 {
            self.exchange.allow_upgrade();
        }
        let polled = self.exchange.poll(cx);
        // After hyper's turn, which settles the exchange: no other wake comes for the lease.
        self.collect_parked(cx);
        // By the flags from before the turn: a question that came during it is answered by the next.
        self.conn.io.note_run(flags);
        match polled {
            Poll::Ready(result) => self.poll_end(&result, cx),
            Poll::Pending if flags & CLOSING != 0 => {
                self.keep_io();
                self.exchange.say_goodbye(cx);
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<I, G> Drop for Driver<I, G>
where
    I: Read + Write + Unpin + Send + 'static,
    G: Unpin + Send + 'static,
{
    fn drop(&mut self) {
        // Only a runtime that ends drops a driver that has not ended.
        if !self.ended {
            self.conn.set_reason(CloseReason::Shutdown);
        }
        let hand_over = self.conn.hand_over.clone();
        // Outside: the place falls free with the IO, and what follows from that is not for a lock.
        let held = hand_over.hold();
        let ended = self.exchange.end();
        drop(held);
        drop(ended);
        drop(self.unread.take());
        if let Some(lease) = self.conn.parked.collect(|lease| lease.is_of_driver()) {
            lease.give_back();
        }
        // A lease that has asked is answered by this, and one that asks later at once: it would wait
        // for ever.
        self.conn.again.end();
        self.conn.io.note_run(ASKED);
    }
}

impl<I, G> Exchange<I, G>
where
    I: Read + Write + Unpin + Send + 'static,
    G: Unpin + Send + 'static,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self {
            Self::Http(connection) => Pin::new(connection).poll(cx),
            Self::Upgradeable(connection) => connection.as_mut().poll(cx),
            Self::Ended(..) | Self::Again(_) | Self::Over => Poll::Ready(Ok(())),
        }
    }

    /// Keeps only the IO object of a connection that hyper has ended; `false` where hyper has it.
    fn keep_io(&mut self) -> bool {
        let kept = matches!(self, Self::Http(_));
        *self = match mem::replace(self, Self::Over) {
            Self::Http(connection) => {
                let parts = connection.into_parts();
                Self::Ended(parts.io, parts.read_buf)
            }
            Self::Again(connection) => {
                Self::Ended(connection.into_parts().io.into_inner(), Bytes::new())
            }
            other => other,
        };
        kept
    }

    /// Begins to read what was not taken once more, and passes on the sender for its stand-in.
    #[cold]
    fn read_again(&mut self, builder: &Builder, asked: Asked, cx: &mut Context<'_>) {
        *self = match mem::replace(self, Self::Over) {
            Self::Ended(io, unread) if !unread.is_empty() => {
                // It waits for nothing.
                let begun = pin!(builder.handshake(Rewound::new(io, unread))).poll(cx);
                let Poll::Ready(Ok((sender, connection))) = begun else {
                    return;
                };
                // One that has left meanwhile drops the sender, and ends the connection.
                let _left = asked.send(sender);
                Self::Again(Box::new(connection))
            }
            other => other,
        };
    }

    /// Ends the connection's writing half as far as one poll goes, so that TLS sends its `close_notify`
    /// (RFC 8446 section 6.1); nothing waits for more of it, since the place is to be free.
    #[cold]
    fn say_goodbye(&mut self, cx: &mut Context<'_>) {
        if let Self::Ended(io, _) = self {
            let _as_far_as_it_goes = Pin::new(io).poll_goodbye(cx);
        }
    }

    /// Drops the half that takes requests, and takes what is left of the connection.
    fn end(&mut self) -> Self {
        self.keep_io();
        mem::replace(self, Self::Over)
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
