//! The right to one exchange on one connection.

mod ending;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use tokio::time::Instant;
use tollgate_core::{CloseReason, Timings};

use crate::config::RetryPolicy;
use crate::conn::Conn;
use crate::hint::KeepAliveHint;
use crate::origin_pool::OriginPool;
use crate::request::Replay;
use crate::sender::{Outgoing, Sender, Sent};

/// The right to one exchange on one connection, and the duty to give it back.
///
/// It ends when the response body and the request body have both ended and hyper is ready for the
/// next request; dropping it at any moment before that is safe and does what the moment demands.
pub(crate) struct Lease {
    origin: Arc<OriginPool>,
    conn: Arc<Conn>,
    sender: Option<Sender>,
    granted_at: Instant,
    hint: KeepAliveHint,
    stage: Stage,
    retire: Option<CloseReason>,
    /// The connection had served before.
    reused: bool,
    /// The caller dropped the response body before its end.
    dropped_early: bool,
}

/// How far the exchange came: what dropping the lease means.
///
/// Unsent → Sent → Head → Over, or Head → Tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent: the connection is as good as before.
    Unsent,
    /// The request is on its way and no head has come: the connection dies with the caller.
    Sent,
    /// The head is there: hyper drains what is at hand of the body, or closes.
    Head,
    /// The connection is no longer HTTP: the lease lives in the IO object until that is dropped.
    Tunnel,
    /// Given back.
    Over,
}

impl Lease {
    pub(crate) fn new(
        origin: Arc<OriginPool>,
        conn: Arc<Conn>,
        sender: Sender,
        reused: bool,
        granted_at: Instant,
    ) -> Self {
        Self {
            origin,
            conn,
            sender: Some(sender),
            granted_at,
            hint: KeepAliveHint::default(),
            stage: Stage::Unsent,
            retire: None,
            reused,
            dropped_early: false,
        }
    }

    /// Whether the peer may have closed it while nobody looked: it has served before, or has been
    /// open for a while without serving anybody.
    #[inline]
    pub(crate) fn may_be_stale(&self) -> bool {
        const A_WHILE: Duration = Duration::from_millis(100);
        let opened_at = self.conn.opened_at;
        self.reused || self.granted_at.saturating_duration_since(opened_at) >= A_WHILE
    }

    pub(crate) fn reused(&self) -> bool {
        self.reused
    }

    /// What the caller may know of the connection.
    pub(crate) fn timings(&self) -> Timings {
        let dial = &self.conn.dial;
        let mut timings = Timings::default();
        timings.reused = self.reused;
        timings.connection = self.conn.number;
        timings.remote = dial.remote;
        if !self.reused {
            timings.dns = dial.dns;
            timings.connect = dial.connect;
            timings.tls = dial.tls;
        }
        timings
    }

    pub(crate) fn granted_at(&self) -> Instant {
        self.granted_at
    }

    pub(crate) fn origin(&self) -> &Arc<OriginPool> {
        &self.origin
    }

    #[inline]
    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.origin.shared.config.retry
    }

    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    /// Whether the request can be sent at once: nothing is there to be looked at first.
    #[inline]
    pub(crate) fn is_clean(&self) -> bool {
        !self.conn.io.unread() && !self.is_dead()
    }

    /// Whether the connection is of no use any more.
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.conn.is_closing() || self.sender.as_ref().is_none_or(|sender| sender.is_closed())
    }

    /// Lets the driver look at what the reactor has announced before the connection is trusted.
    ///
    /// Cancel safe: the lease is unsent.
    pub(crate) async fn settle_pending_reads(&self) {
        // The driver was woken before this task saw the flag; two turns are enough on one thread, a
        // few more cover a driver that another thread is about to run.
        const TURNS: usize = 8;
        for _ in 0..TURNS {
            if !self.conn.io.unread() || self.is_dead() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Hands the request to hyper. `keep` asks to keep what it takes to send it once more.
    #[inline]
    pub(crate) fn send(&mut self, request: &mut Outgoing, keep: bool) {
        self.stage = Stage::Sent;
        self.conn.io.exchange_begins();
        if let Some(sender) = &mut self.sender {
            sender.as_mut().send(request, &self.origin, keep);
        }
    }

    /// Looks for the head of the response.
    #[inline]
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        let sender = self.sender.as_mut();
        let sender = sender.expect("a lease has its sender until it is over");
        sender.as_mut().poll_head(cx)
    }

    /// What was kept to send the request once more.
    pub(crate) fn take_replay(&mut self) -> Option<Replay> {
        self.sender.as_mut()?.as_mut().take_replay()
    }

    /// The connection may leave HTTP with this exchange.
    pub(crate) fn allow_tunnel(&self) {
        self.conn.allow_tunnel();
        self.conn.io.wake_driver();
    }

    /// The head has come: what it says about reuse counts when the exchange is over.
    #[inline]
    pub(crate) fn head_arrived(&mut self, response: &Response<Incoming>) {
        self.stage = Stage::Head;
        if let Some(sender) = &mut self.sender {
            sender.as_mut().forget();
        }
        self.conn.io.head_arrived();
        if let Some(hint) = KeepAliveHint::of(response) {
            self.hint = hint;
        } else {
            self.retire = Some(CloseReason::PeerClose);
            self.conn.suspect(self.retire);
        }
    }

    /// The connection has left HTTP. Its place and its lease are free when the IO object is dropped.
    pub(crate) fn become_tunnel(&mut self) {
        self.stage = Stage::Tunnel;
        self.conn.set_reason(CloseReason::Upgraded);
        self.origin.tunnel_begins(&self.conn, self.granted_at);
    }

    /// Whether the connection has other leases, which go on whatever happens to this one.
    #[inline]
    pub(crate) fn is_stream(&self) -> bool {
        self.conn.has_streams
    }

    /// Whether hyper has finished with the exchange, one way or the other.
    pub(crate) fn is_settled(&self) -> bool {
        self.sender
            .as_ref()
            .is_none_or(|sender| sender.is_ready() || sender.is_closed())
    }

    /// Whether it was given back or parked: the response has ended.
    #[inline]
    pub(crate) fn is_given_back(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Whether it was given back, parked, or has become a tunnel.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over | Stage::Tunnel)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("stage", &self.stage)
            .field("reused", &self.reused)
            .finish_non_exhaustive()
    }
}
