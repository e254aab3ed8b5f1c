//! One dial of the pool: its connection is checked and opened, or its failure goes to those that wait.

mod driving;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use tokio::runtime::Id;
use tokio::time::{Instant, timeout};
use tollgate_core::{
    BoxError, Classified, ConnectErrorKind, ConnectTimedOut, DialInfo, Encrypted, Event,
    NotEncrypted, Origin, Phase, SocketPeek,
};

use crate::connection::conn::Conn;
use crate::connection::http2;
use crate::connection::io::PooledIo;
use crate::dial::Opening;
use crate::dial::errors::{Abandoned, NotHttp1, Outdated};
use crate::options::protocol::Protocol;
use crate::pool::give_back::Place;
use crate::pool::inner::Inner;
use crate::pool::origin_pool::OriginPool;
use crate::pool::runtimes::DialId;
use crate::pool::shared::later;
use crate::pool::transaction::OVERDUE;
use driving::{Begun, Driving, begin_http1, begin_http2};

const UNENCRYPTED: NotEncrypted = NotEncrypted::new(
    "the connection does not say that it is TLS up to this origin; put tollgate's TlsOptions::layer over the connector, or AssumeTls over a TLS layer that says nothing",
);

/// A dial in progress. Dropped unsettled, it is withdrawn.
pub(crate) struct PoolOpening {
    pool: Arc<OriginPool>,
    started: Instant,
    /// Where it runs.
    runtime: Id,
    id: DialId,
    /// The connector was asked for HTTP/1.1.
    asked: AtomicBool,
    settled: bool,
}

impl PoolOpening {
    pub(crate) const fn new(
        pool: Arc<OriginPool>,
        started: Instant,
        runtime: Id,
        id: DialId,
    ) -> Self {
        Self {
            pool,
            started,
            runtime,
            id,
            asked: AtomicBool::new(false),
            settled: false,
        }
    }

    /// Begins HTTP on a connection that was made, and hands it to the pool.
    async fn begin<I>(mut self, io: I, left: Duration) -> Option<Driving<I>>
    where
        I: Read + Write + Connection + Unpin + Send + 'static,
    {
        let pool = self.pool.clone();
        let connected = io.connected();
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        // Before hyper gets the connection: HTTP/2 writes its preface at once.
        let is_http2 = match self.speaks_http2(connected.is_negotiated_h2(), &extras) {
            Ok(is_http2) => is_http2,
            Err(refused) => {
                // First: the place is free when the socket is.
                drop(io);
                self.refuse(refused);
                return None;
            }
        };
        let conn = Arc::new(Conn::new(
            pool.shared.next_connection(),
            Instant::now(),
            (dial_info(&extras), extras.get::<SocketPeek>().cloned()),
            self.runtime,
            is_http2,
        ));
        let (opened, driving) = match self.speak(io, &conn, is_http2, left).await {
            Ok(begun) => begun,
            Err(error) => {
                self.not_begun(error, &conn);
                return None;
            }
        };
        // Before the engine has the connection: a dial that the clock gave up holds no place any
        // more.
        if !pool.touch(|inner| inner.runtimes.dial_ended(self.id)) {
            // It was given up, and its place is another's: dropping it reports that.
            return None;
        }
        // From here on the connection's own end is reported by its IO object, and a drop of this
        // withdraws nothing.
        self.settled = true;
        pool.observe(|| Event::Opened {
            origin: &pool.origin,
            connection: conn.number,
            dial: &conn.dial,
            elapsed: self.started.elapsed(),
        });
        // After the event: what is granted here may be released at once, and the observer sees it
        // opened first.
        pool.touch(|inner| inner.opened_locked(&conn, opened));
        // What is due on this connection is due on this runtime.
        pool.shared.clock.ensure(&pool.shared);
        Some(driving)
    }

    /// Begins HTTP; HTTP/2 within what the connector has `left`.
    async fn speak<I>(&self, io: I, conn: &Arc<Conn>, is_http2: bool, left: Duration) -> Begun<I>
    where
        I: Read + Write + Connection + Unpin + Send + 'static,
    {
        let pool = &self.pool;
        // From here on the IO object has the place. As long as the engine has no name for the
        // connection, dropping it frees nothing: the end of this opening does.
        let place = Place {
            origin: pool.clone(),
            conn: conn.clone(),
        };
        if !is_http2 {
            let io = PooledIo::new(io, conn.io.clone(), place);
            return begin_http1(io, pool, conn.clone()).await;
        }
        let io = http2::watched(io, &pool.shared.config.http2, pool, conn, place);
        let opening = Box::pin(begin_http2(io, pool, conn.clone()));
        let total = self.started.elapsed().saturating_add(left);
        // A peer that accepts and is silent would hold the place.
        timeout(left, opening).await.unwrap_or_else(|_| {
            let late = ConnectTimedOut::new(Phase::Preface, total, self.started.elapsed());
            Err(late.into())
        })
    }

    /// The protocol to speak on a connection that has `agreed` on HTTP/2, or not.
    ///
    /// # Errors
    /// The pool must not speak on it at all.
    fn speaks_http2(&self, agreed: bool, extras: &http::Extensions) -> Result<bool, BoxError> {
        let OriginPool { origin, shared, .. } = &*self.pool;
        if origin.scheme() == "https" && !agreed && !is_encrypted(extras, origin) {
            let refused = Classified::new(ConnectErrorKind::Tls).because(UNENCRYPTED);
            return Err(Box::new(refused));
        }
        match shared.config.protocol {
            Protocol::Http1 if agreed => Err(Box::new(NotHttp1)),
            Protocol::Http1 => Ok(false),
            Protocol::Http2 => Ok(true),
            Protocol::Auto => {
                if agreed && self.pool.http2.is_http1_required() {
                    // No refusal of the peer's: this dial began before the pool knew, and the next
                    // one asks.
                    if !self.asked.load(Relaxed) {
                        return Err(Box::new(Outdated));
                    }
                    // Others may be served by it; a request that may not fails with that reason.
                    self.pool.http2.http1_is_unavailable();
                }
                Ok(agreed)
            }
        }
    }

    fn fail(&mut self, error: BoxError) {
        self.settled = true;
        // Before those that wait are refused for it: the observer has the failure first.
        let kind = self.tell_failed(&*error);
        let error = Arc::new(error);
        self.pool.touch(|inner| {
            // Given up by the clock: the engine does not count it any more, and its place may be
            // another dial's.
            if !inner.runtimes.dial_ended(self.id) {
                return;
            }
            let now = Instant::now();
            match kind {
                ConnectErrorKind::PortsExhausted | ConnectErrorKind::TooManyOpenFiles => {
                    // A local cause is no verdict on the peer (A14).
                    inner.engine.open_blocked(now, error);
                }
                _ => inner.engine.open_failed(now, error),
            }
        });
    }

    /// The connection is not one to speak on.
    fn refuse(&mut self, refused: BoxError) {
        if refused.is::<Outdated>() {
            self.go_another_way(&*refused);
        } else {
            self.fail(refused);
        }
    }

    /// HTTP could not be begun. If the peer requires HTTP/1.1, the next dial asks for it: no request fails
    /// with this one.
    fn not_begun(&mut self, error: BoxError, conn: &Conn) {
        if !(conn.requires_http1() && self.pool.require_http1()) {
            return self.fail(error);
        }
        self.go_another_way(&*error);
    }

    /// Ends it without an outcome: the next dial asks for HTTP/1.1.
    fn go_another_way(&mut self, error: &(dyn std::error::Error + Send + Sync + 'static)) {
        self.settled = true;
        self.abandon(error, |_| ());
    }

    /// Leaves those who wait to the next dial, which is looked for in the same transaction, after `first`.
    fn abandon(
        &self,
        error: &(dyn std::error::Error + Send + Sync + 'static),
        first: impl FnOnce(&mut Inner),
    ) {
        self.tell_failed(error);
        self.pool.touch(|inner| {
            // Before the open is off the engine: the dial that follows from that must not go to a
            // runtime that is lost.
            first(inner);
            if inner.runtimes.dial_ended(self.id) {
                inner.engine.open_abandoned(Instant::now());
            }
        });
    }

    fn tell_failed(
        &self,
        error: &(dyn std::error::Error + Send + Sync + 'static),
    ) -> ConnectErrorKind {
        let kind = ConnectErrorKind::of(error);
        self.pool.observe(|| Event::ConnectFailed {
            origin: &self.pool.origin,
            kind,
            error,
            elapsed: self.started.elapsed(),
        });
        kind
    }
}

impl Opening for PoolOpening {
    fn uri(&self) -> http::Uri {
        self.pool.uri.clone()
    }

    fn limit(&self) -> Duration {
        self.pool.connect_timeout()
    }

    fn gives_way(&self) -> bool {
        self.pool.shared.config.connect_timeout(&self.pool.origin).1
    }

    fn extended(&self, budget: Duration) {
        self.pool.learn_budget(budget);
        // The margin again: the clock must not give up a dial that its own timer is about to end.
        let until = later(Instant::now(), budget.saturating_add(OVERDUE));
        self.pool
            .touch(|inner| inner.runtimes.dial_extended(self.id, until));
    }

    fn pause(&self) -> Option<Duration> {
        self.pool.http2.pause()
    }

    fn wants_http1(&self) -> bool {
        let asks = self.pool.http2.is_http1_required();
        // Relaxed: it is set and read by the one task of the dial.
        self.asked.store(asks, Relaxed);
        asks
    }

    type Driving<I>
        = Driving<I>
    where
        I: Read + Write + Connection + Unpin + Send + 'static;

    async fn connected<I>(self, io: I, left: Duration) -> Option<Driving<I>>
    where
        I: Read + Write + Connection + Unpin + Send + 'static,
    {
        self.begin(io, left).await
    }

    fn failed(mut self, error: BoxError) {
        self.fail(error);
    }
}

impl Drop for PoolOpening {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if self.pool.shared.config.runtime.is_some() {
            // There is no other runtime to go to.
            return self.fail(Box::new(Abandoned));
        }
        // Its runtime has ended, or is unwinding. Requests that wait may be on another one, where the
        // next dial goes: not there again.
        self.abandon(&Abandoned, |inner| inner.runtimes.lost(self.runtime));
    }
}

/// Whether the connection is TLS up to `origin`, and not only up to a proxy.
fn is_encrypted(extras: &http::Extensions, origin: &Origin) -> bool {
    extras
        .get::<Encrypted>()
        .is_some_and(|encrypted| encrypted.origin() == origin)
}

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
