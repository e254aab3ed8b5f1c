//! The right to one exchange on one connection.

mod ending;
mod late_answer;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tollgate_admission::Grant;
use tollgate_core::{CloseReason, SocketState, Timer, Timings};

use crate::connection::conn::{Conn, LastEnd};
use crate::connection::erased::ErasedBody;
use crate::connection::hint::KeepAliveHint;
use crate::connection::replay::Replay;
use crate::connection::sender::{self, Http1Sender, Outgoing, Sender, Sent, Target};
use crate::connection::upload;
use crate::options::retry::RetryPolicy;
use crate::pool::origin_pool::OriginPool;

/// How long the driver of a connection may take to run: a runtime that takes longer is not driven, or is
/// blocked, and a request would wait on it without a bound.
const RUNS_WITHIN: Duration = Duration::from_millis(250);

/// The right to one exchange on one connection, and the duty to give it back.
///
/// It ends when the response body and the request body have both ended and hyper is ready for the
/// next request; dropping it at any moment before that is safe and does what the moment demands.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is known at another time, and none excludes another"
)]
pub(crate) struct Lease {
    origin: Arc<OriginPool>,
    conn: Arc<Conn>,
    sender: Option<Sender>,
    granted_at: Instant,
    /// The wait for capacity before that, without the dial of its connection.
    waited: Duration,
    /// The connection's mark at the grant, from which the time that it was idle follows.
    last_end: LastEnd,
    hint: KeepAliveHint,
    stage: Stage,
    retire: Option<CloseReason>,
    /// The connection had served before.
    reused: bool,
    /// The caller dropped the response body before its end.
    dropped_early: bool,
    /// It was reserved before there was a request for it.
    held: bool,
    /// The request's body is soon sent, whoever is there to see it.
    is_short: bool,
    /// Its caller went away before the head of the response, and the engine knows.
    left: bool,
}

/// How far the exchange came: what dropping the lease means.
///
/// Unsent → Sent → Head → Over, or Head → Tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent: the connection is as good as before.
    Unsent,
    /// The request is on its way and no head has come: the connection dies with the caller, unless the
    /// answer is due soon.
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
        grant: &Grant,
        granted_at: Instant,
    ) -> Self {
        let reused = grant.reused;
        let waited = grant.waited.saturating_sub(grant.opening);
        // Read now: the end of this exchange writes over it, and the timings may be read after that.
        let last_end = conn.last_end();
        Self {
            origin,
            conn,
            sender: Some(sender),
            granted_at,
            waited,
            last_end,
            hint: KeepAliveHint::default(),
            stage: Stage::Unsent,
            retire: None,
            reused,
            dropped_early: false,
            held: false,
            is_short: false,
            left: false,
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

    /// What the caller may know of the connection.
    pub(crate) fn timings(&self) -> Timings {
        let dial = &self.conn.dial;
        let mut timings = Timings::default();
        timings.reused = self.reused;
        timings.connection = self.conn.number;
        timings.remote = dial.remote;
        timings.local = dial.local;
        timings.idle = Some(self.conn.idle_between(self.last_end, self.granted_at));
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

    /// Whether the request can be sent at once: nothing is there to be looked at first, and its driver
    /// runs where this is called.
    #[inline]
    pub(crate) fn is_clean(&self) -> bool {
        let sender = self.sender.as_ref();
        let is_open = !self.conn.is_special() && sender.is_some_and(|sender| !sender.is_closed());
        let looks_open = is_open && !self.conn.io.unread() && self.is_at_home();
        // The kernel last, which costs a system call: the rest is read from memory.
        looks_open && (!self.was_quiet() || self.is_silent())
    }

    /// Whether the connection's driver runs on the current runtime.
    #[inline]
    fn is_at_home(&self) -> bool {
        Handle::try_current().is_ok_and(|runtime| runtime.id() == self.conn.runtime)
    }

    /// Whether the connection has been quiet for a while, so that the kernel is asked before it is used.
    #[inline]
    fn was_quiet(&self) -> bool {
        /// Less than it takes to send a request and be answered on any network, and more than from an
        /// answer to the next request in a loop, whose hits cost no system call more.
        const A_WHILE: Duration = Duration::from_micros(10);
        self.conn.has_socket() && (self.held || self.conn.quiet_for(self.granted_at) >= A_WHILE)
    }

    /// Returns true if nothing is there to be read, as the kernel knows. On HTTP/2 there may be while other streams
    /// are open; else it is a GOAWAY, or a PING.
    fn is_silent(&self) -> bool {
        match self.conn.socket_state() {
            SocketState::Silent => true,
            SocketState::Readable => self.is_stream() && !self.conn.has_no_streams(),
            _ => false,
        }
    }

    /// The lease was reserved and kept for a while before its request came.
    pub(crate) fn was_held(&mut self) {
        self.held = true;
    }

    /// Returns true if the runtime of the connection ended, and the connection with it.
    pub(crate) fn lost_its_runtime(&self) -> bool {
        self.conn.reason() == Some(CloseReason::Shutdown) && !self.origin.shared.is_stopped()
    }

    /// Whether the connection is of no use any more.
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.conn.is_useless() || self.sender.as_ref().is_none_or(|sender| sender.is_closed())
    }

    /// Whether the peer takes a request with such a body. HTTP/1.0 has no chunks: hyper would send it
    /// without its body.
    pub(crate) fn carries(&self, body: &ErasedBody) -> bool {
        !self.conn.wants_lengths() || body.size_hint().exact().is_some()
    }

    /// Makes sure of a connection that is not known to be good: the driver looks at what the reactor has
    /// announced, and shows that it runs; then the kernel is asked. `false` for a connection that is not
    /// driven, or is lost.
    ///
    /// Cancel safe: the lease is unsent.
    pub(crate) async fn make_sure(&self) -> bool {
        if self.is_dead() {
            return false;
        }
        // The driver first, which costs no system call: it may have seen the end already.
        if self.conn.io.unread() || !self.is_at_home() {
            let by = Instant::now() + RUNS_WITHIN;
            if Timer::until(by, self.conn.io.driver_runs()).await.is_none() {
                // The reason alone: `found_dead` closes it, and those that are likely no better.
                self.conn.set_reason(CloseReason::Stuck);
                return false;
            }
        }
        if self.was_quiet() {
            self.proves_silent().await
        } else {
            !self.is_dead()
        }
    }

    /// Gives the reactor a few turns to announce what the kernel has, if it has something; `false` if it
    /// still has then, or the driver has ended meanwhile.
    async fn proves_silent(&self) -> bool {
        const TURNS: usize = 8;
        for _ in 0..TURNS {
            if self.is_dead() || self.is_silent() {
                // Asked again behind the look: the driver may end meanwhile, on another thread.
                return !self.is_dead();
            }
            tokio::task::yield_now().await;
        }
        // Bytes below TLS may be its own, a `close_notify` say: they are no evidence of a stray answer.
        let is_plain = self.conn.dial.tls.is_none();
        match self.conn.socket_state() {
            SocketState::Silent => return !self.is_dead(),
            SocketState::Readable if self.is_stream() => return !self.is_dead(),
            SocketState::Readable if is_plain => self.conn.set_reason(CloseReason::Unsolicited),
            _ => self.conn.set_reason(CloseReason::PeerEof),
        }
        false
    }

    /// Hands the request to hyper. `keep` asks to keep what it takes to send it once more.
    #[inline]
    pub(crate) fn send(&mut self, request: &mut Outgoing, keep: bool) {
        // Before hyper has it: a panic in the hand-over must not pass for a connection that is as
        // good as before.
        self.stage = Stage::Sent;
        self.is_short = request.as_ref().is_some_and(|one| one.body().is_short());
        // Before hyper can write it: an answer that is read while nothing counts as asked is a stray
        // one.
        self.conn.io.exchange_begins();
        if let Some(sender) = &mut self.sender {
            let to = Target {
                host: &self.origin.host,
                uri: &self.origin.uri,
                buffer: self.origin.shared.config.retry.buffer,
            };
            sender.as_mut().send(request, &to, keep);
        }
    }

    /// Looks for the head of the response.
    #[inline]
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        let sender = self.sender.as_mut();
        let sender = sender.expect("a lease has its sender until it is over");
        sender.as_mut().poll_head(cx)
    }

    /// Has what has come read again, by a parser that takes more header fields; false if this one took as
    /// many already. The connection serves nothing after that: how much of the request it has written
    /// is no longer known.
    ///
    /// Cancel safe: the lease is sent.
    pub(crate) async fn read_again(&mut self) -> bool {
        // Asked before the wake: in a turn without a question the driver goes on to wait for the
        // reason.
        let answer = self.conn.again.ask();
        self.conn.io.wake_driver();
        let Ok(sender) = answer.await else {
            return false;
        };
        let mut stand_in = Request::new(ErasedBody::EMPTY);
        if self
            .sender
            .as_ref()
            .is_some_and(|sender| sender.asked_head())
        {
            *stand_in.method_mut() = Method::HEAD;
        }
        let sender = Http1Sender::new(sender, self.conn.hand_over.clone());
        self.sender = Some(sender::http1_sender(sender));
        self.send(&mut Some(stand_in), false);
        // After the send, which begins the count of reads anew: what has come already forbids a replay.
        self.conn.io.was_answered();
        self.retire = Some(CloseReason::MaxRequests);
        true
    }

    /// What was kept to send the request once more.
    pub(crate) fn take_replay(&mut self) -> Option<Replay> {
        self.sender.as_mut()?.as_mut().take_replay()
    }

    /// The error with which the request's body ended, on a stream.
    pub(crate) fn upload_failure(&self) -> Option<upload::Failure> {
        self.sender.as_ref()?.upload()?.failure()
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
            // What was kept for a replay is memory for the body's life, and a request that was
            // answered is not sent again.
            sender.as_mut().forget();
        }
        // From here on reads are the body's, and not bounded as those before a head are.
        self.conn.io.head_arrived();
        if response.version() < Version::HTTP_11 {
            self.conn.io.note_http10();
        }
        if let Some(hint) = KeepAliveHint::of(response) {
            self.hint = hint;
        } else {
            self.retire = Some(CloseReason::PeerClose);
            // For the driver, which may see the connection end before the lease is back.
            self.conn.suspect(self.retire);
            if !response.status().is_success() {
                // The peer wants no more of the request's body, if there is more (RFC 9112 section 9.5).
                self.conn.io.stop_writing();
            }
        }
    }

    /// The connection has left HTTP. Its place and its lease are free when the IO object is dropped.
    pub(crate) fn become_tunnel(&mut self) {
        self.stage = Stage::Tunnel;
        // Before the tunnel can end: the reason is the first that is set.
        self.conn.set_reason(CloseReason::Upgraded);
        self.origin.tunnel_begins(&self.conn, self.granted_at);
    }

    /// Whether the connection has other leases, which go on whatever happens to this one.
    #[inline]
    pub(crate) fn is_stream(&self) -> bool {
        self.conn.is_http2
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
