//! One connection of the upstream: reads requests, does what the script has.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::BytesMut;
use futures_util::future::{Either, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::broadcast::{self, error::RecvError};

use super::body::Body;
use super::host::{Command, Host, Request};
use super::step::Step;
use super::stream::Wire;
use super::wire::{Malformed, RawHead};

/// The bytes that a connection reads ahead while it waits, to notice the peer's close. A peer that
/// sends more meets backpressure, and its close goes unnoticed.
const READ_AHEAD: usize = 256 * 1024;

/// The connection is over; the caller closes it.
pub(super) struct Ended;

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// The exchange that a reply belongs to.
pub(super) struct Exchange {
    pub(super) request: Request,
    pub(super) body: Body,
}

pub(super) struct Connection<S> {
    host: Arc<Host>,
    number: usize,
    pub(super) stream: S,
    pub(super) buf: BytesMut,
    pub(super) out: Vec<u8>,
    commands: broadcast::Receiver<Command>,
    // Last, so that the socket is closed before it is counted as closed.
    _live: Live,
}

/// Counts a connection out.
struct Live(Arc<Host>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.count(|stats| stats.live -= 1);
    }
}

/// Serves `stream` until either side is done with it, or the upstream is stopped.
///
/// Orders reach it from this call on, though it does nothing before it is polled.
pub(super) fn serve<S: Wire>(
    host: Arc<Host>,
    number: usize,
    stream: S,
) -> impl Future<Output = ()> {
    let mut resets = host.resets.subscribe();
    let mut connection = Connection {
        commands: host.commands.subscribe(),
        _live: Live(Arc::clone(&host)),
        host,
        number,
        stream,
        buf: BytesMut::new(),
        out: Vec::new(),
    };
    async move {
        let stop = connection.host.stop.clone();
        let was_reset = {
            let script = pin!(connection.run());
            let reset = pin!(resets.changed());
            let stop = pin!(stop.wait());
            let first = select(select(script, reset), stop).await;
            matches!(first, Either::Left((Either::Right(_), _)))
        };
        if was_reset {
            connection.stream.reset_on_drop();
        }
    }
}

impl<S: Wire> Connection<S> {
    async fn run(&mut self) -> Result<Infallible, Ended> {
        let host = Arc::clone(&self.host);
        if let Some(on_accept) = &host.on_accept {
            self.perform(on_accept(self.number), None).await?;
        }
        for nth in 0.. {
            let head = self.next_head().await?;
            self.exchange(&head, nth).await?;
        }
        unreachable!("more requests than there are numbers")
    }

    async fn exchange(&mut self, head: &RawHead, nth: usize) -> Result<(), Ended> {
        let body = head.body().map_err(|Malformed| self.malformed())?;
        let mut request = Request::new(head, self.number, nth);
        self.host.arrive(&mut request);
        let mut reply = (self.host.on_request)(&request);
        let last = self.host.max_requests == Some(nth + 1);
        // A reply of bytes alone has no head to announce the close in.
        if last && reply.steps.iter().any(|step| matches!(step, Step::Head(_))) {
            reply = reply.closing();
        }
        let keeps = head.keeps_alive() && !reply.says_close() && !last;
        let mut exchange = Exchange { request, body };
        if !reply.before_body {
            self.read_body(&mut exchange).await?;
        }
        self.perform(reply, Some(&mut exchange)).await?;
        self.host.count(|stats| stats.answered += 1);
        if !keeps {
            return self.close().await;
        }
        self.read_body(&mut exchange).await
    }

    /// Waits, idle, for the next request's head.
    async fn next_head(&mut self) -> Result<RawHead, Ended> {
        loop {
            match RawHead::take(&mut self.buf) {
                Ok(Some(head)) => {
                    // Orders given before this exchange are out of date once it is over.
                    self.commands = self.commands.resubscribe();
                    return Ok(head);
                }
                Ok(None) if self.buf.is_empty() => self.idle().await?,
                Ok(None) => self.read_more().await?,
                Err(Malformed) => return Err(self.malformed()),
            }
        }
    }

    /// Waits for the first byte of a request, obeying orders.
    async fn idle(&mut self) -> Result<(), Ended> {
        let host = Arc::clone(&self.host);
        host.count(|stats| stats.idle += 1);
        let _busy = Busy(&host);
        let timeout = async {
            match host.idle_timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => pending().await,
            }
        };
        let mut timeout = pin!(timeout);
        loop {
            // What was read goes before an order: with a byte of a request there the connection is
            // not idle.
            let order = tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.buf) => return match read? {
                    0 => Err(Ended),
                    _ => Ok(()),
                },
                order = self.commands.recv() => order,
                () = &mut timeout => Ok(Command::Close),
            };
            match order {
                Ok(Command::Close) => return self.close().await,
                Ok(Command::Write(bytes)) => self.stream.write_all(&bytes).await?,
                // More orders than the channel holds: the later ones follow.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(Ended),
            }
        }
    }

    pub(super) async fn read_body(&mut self, exchange: &mut Exchange) -> Result<(), Ended> {
        loop {
            let done = exchange.body.advance(&mut self.buf);
            let complete = matches!(done, Ok(true));
            self.host
                .body_read(exchange.request.arrival, exchange.body.len(), complete);
            match done {
                Ok(true) => return Ok(()),
                Ok(false) => self.read_more().await?,
                Err(Malformed) => return Err(self.malformed()),
            }
        }
    }

    /// Waits for `wait`, unless the peer closes first. A peer that only stopped sending has closed.
    pub(super) async fn unless_gone(
        &mut self,
        wait: impl Future<Output = ()>,
    ) -> Result<(), Ended> {
        let mut wait = pin!(wait);
        while self.buf.len() < READ_AHEAD {
            // The wait before the peer: a step that is due is done though the peer has closed.
            tokio::select! {
                biased;
                () = &mut wait => return Ok(()),
                more = self.stream.read_buf(&mut self.buf) => if more? == 0 {
                    return Err(Ended);
                },
            }
        }
        wait.await;
        Ok(())
    }

    pub(super) async fn read_more(&mut self) -> Result<(), Ended> {
        match self.stream.read_buf(&mut self.buf).await? {
            0 => Err(Ended),
            _ => Ok(()),
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await?;
            self.out.clear();
        }
        Ok(())
    }

    pub(super) async fn close(&mut self) -> Result<(), Ended> {
        self.stream.shutdown().await?;
        Err(Ended)
    }

    fn malformed(&self) -> Ended {
        self.host.count(|stats| stats.malformed += 1);
        Ended
    }
}

struct Busy<'a>(&'a Host);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.count(|stats| stats.idle -= 1);
    }
}
