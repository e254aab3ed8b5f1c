//! The right to one exchange on one connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::Instant;
use tollgate_admission::{Grant, Returned};
use tollgate_core::{CloseReason, Timings};

use crate::conn::{Conn, Sender};
use crate::erased::ErasedBody;
use crate::hint::{self, KeepAliveHint};
use crate::origin_pool::OriginPool;

/// The right to one exchange on one connection, and the duty to give it back.
///
/// It ends when the response body and the request body have both ended and hyper is ready for the
/// next request; dropping it at any moment before that is safe and does what the moment demands.
pub(crate) struct Lease {
    origin: Arc<OriginPool>,
    conn: Arc<Conn>,
    sender: Option<Sender>,
    grant: Grant,
    granted_at: Instant,
    stage: Stage,
    retire: Option<CloseReason>,
    hint: KeepAliveHint,
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
        grant: Grant,
        granted_at: Instant,
    ) -> Self {
        Self {
            origin,
            conn,
            sender: Some(sender),
            grant,
            granted_at,
            stage: Stage::Unsent,
            retire: None,
            hint: KeepAliveHint::default(),
            dropped_early: false,
        }
    }

    /// Whether the peer may have closed it while nobody looked: it has served before, or has been
    /// open for a while without serving anybody.
    pub(crate) fn may_be_stale(&self) -> bool {
        const A_WHILE: Duration = Duration::from_millis(100);
        let age = self
            .granted_at
            .saturating_duration_since(self.conn.opened_at);
        self.grant.reused || age >= A_WHILE
    }

    pub(crate) fn waited(&self) -> Duration {
        self.grant.waited
    }

    pub(crate) fn granted_at(&self) -> Instant {
        self.granted_at
    }

    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Whether the request can be sent at once: nothing is there to be looked at first.
    pub(crate) fn is_clean(&self) -> bool {
        !self.conn.io.unread() && !self.is_dead()
    }

    /// Whether the connection is of no use any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.conn.is_closing() || self.sender.as_ref().is_none_or(Sender::is_closed)
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

    /// Hands the request to hyper.
    pub(crate) fn send(
        &mut self,
        request: Request<ErasedBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<ErasedBody>>>> + use<>
    {
        self.stage = Stage::Sent;
        self.conn.io.exchange_begins();
        self.sender
            .as_mut()
            .map(|sender| sender.try_send_request(request))
            .expect("a lease has its sender until it is over")
    }

    /// The connection may leave HTTP with this exchange.
    pub(crate) fn allow_tunnel(&self) {
        self.conn.allow_tunnel();
        self.conn.io.wake_driver();
    }

    /// The head has come: what it says about reuse counts when the exchange is over.
    pub(crate) fn head_arrived(&mut self, response: &Response<Incoming>) {
        self.stage = Stage::Head;
        self.conn.io.head_arrived();
        if hint::forbids_reuse(response) {
            self.retire = Some(CloseReason::PeerClose);
            self.conn.suspect(self.retire);
        } else {
            self.hint = KeepAliveHint::of(response.headers());
        }
    }

    /// The connection has left HTTP. Its place and its lease are free when the IO object is dropped.
    pub(crate) fn become_tunnel(mut self) {
        self.stage = Stage::Tunnel;
        self.conn.set_reason(CloseReason::Upgraded);
    }

    /// Ends the lease of an exchange that broke, with what that says about the connection.
    pub(crate) fn failed(mut self, reason: CloseReason) {
        self.conn.close(reason);
        self.retire = Some(reason);
        self.give_back();
    }

    /// What the caller may know of the connection.
    pub(crate) fn timings(&self) -> Timings {
        let dial = &self.conn.dial;
        let mut timings = Timings::default();
        timings.reused = self.grant.reused;
        timings.connection = self.conn.number;
        timings.remote = dial.remote;
        if !self.grant.reused {
            timings.dns = dial.dns;
            timings.connect = dial.connect;
            timings.tls = dial.tls;
        }
        timings
    }

    /// Whether hyper has finished with the exchange, one way or the other.
    pub(crate) fn is_settled(&self) -> bool {
        self.sender
            .as_ref()
            .is_none_or(|sender| sender.is_ready() || sender.is_closed())
    }

    /// The caller is done with the response: gives the lease back, now if hyper has finished with the
    /// exchange (with the request's body too), else as soon as it has.
    pub(crate) fn end(mut self, dropped_early: bool) {
        self.dropped_early = dropped_early;
        if self.is_settled() {
            self.give_back();
            return;
        }
        if dropped_early {
            self.conn.suspect(Some(CloseReason::BodyDropped));
        }
        let (origin, conn) = (self.origin.clone(), self.conn.clone());
        conn.parks_now();
        if let Some(lease) = conn.parked.park(self, Self::is_settled) {
            lease.give_back();
        } else {
            origin.lease_parked();
        }
    }

    /// Gives the lease back in whatever state the connection is.
    pub(crate) fn give_back(mut self) {
        self.give_back_mut();
    }

    fn give_back_mut(&mut self) {
        let sender = self.sender.take();
        let ready = sender.as_ref().is_some_and(|sender| match self.stage {
            // A new connection is ready when its driver has run; it takes one request before that.
            Stage::Unsent => !sender.is_closed(),
            _ => sender.is_ready(),
        });
        let reason = match self.retire {
            Some(reason) => Some(reason),
            None if self.conn.is_closing() || !ready => Some(self.reason_of_loss()),
            None => None,
        };
        self.conn.io.exchange_ended();
        self.stage = Stage::Over;
        let returned = match reason {
            Some(reason) => {
                self.conn.set_reason(reason);
                Returned::Retire(reason)
            }
            None => Returned::Reusable {
                idle_for: self.hint.idle_for,
                remaining_uses: self.hint.remaining_uses,
            },
        };
        let drained = self.dropped_early && reason.is_none();
        if drained {
            self.conn.suspect(None);
        }
        self.origin
            .give_back(&self.conn, sender, returned, self.granted_at, drained);
    }

    /// Why hyper gave the connection up, as far as this side knows.
    fn reason_of_loss(&self) -> CloseReason {
        if self.dropped_early {
            CloseReason::BodyDropped
        } else {
            self.conn.reason().unwrap_or(CloseReason::PeerEof)
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.stage {
            Stage::Over | Stage::Tunnel => {}
            Stage::Unsent => self.give_back_mut(),
            Stage::Sent => {
                self.conn.close(CloseReason::Cancelled);
                self.retire = Some(CloseReason::Cancelled);
                self.give_back_mut();
            }
            // Only a pool that is being torn down drops a lease here: a body ends its own.
            Stage::Head => {
                self.conn.close(CloseReason::BodyDropped);
                self.retire = Some(CloseReason::BodyDropped);
                self.give_back_mut();
            }
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("stage", &self.stage)
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}
