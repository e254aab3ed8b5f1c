//! One dial, from its start to what came of it.

use std::sync::Arc;
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use tokio::time::{Instant, timeout};
use tollgate_core::{BoxError, ConnectErrorKind, DialInfo, Event, Phase};

use super::failures::{Abandoned, NotHttp1, OpenTimedOut};
use super::{Driving, begin_one_by_one, begin_streams};
use crate::conn::Conn;
use crate::guarded::GuardedIo;
use crate::io::PooledIo;
use crate::origin_pool::{OriginPool, Place};
use crate::protocol::Protocol;

/// A dial in progress. Dropped unsettled, it is withdrawn.
pub(crate) struct Opening {
    pub(super) pool: Arc<OriginPool>,
    started: Instant,
    settled: bool,
}

impl Opening {
    pub(super) const fn new(pool: Arc<OriginPool>, started: Instant) -> Self {
        Self {
            pool,
            started,
            settled: false,
        }
    }

    /// The connector delivered.
    pub(super) async fn connected<I>(mut self, io: I, left: Duration) -> Option<Driving<I>>
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
        super::start(&pool);
        pool.shared.demand_changed(&pool);
        Some(driving)
    }

    pub(super) fn failed(mut self, error: BoxError) {
        self.fail(error);
    }

    fn fail(&mut self, error: BoxError) {
        self.settled = true;
        self.tell_failed(&*error);
        let pool = &self.pool;
        let error = Arc::new(error);
        pool.with(|inner| inner.engine.open_failed(Instant::now(), error));
        pool.shared.place_free();
        super::start(pool);
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
