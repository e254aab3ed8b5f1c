//! What a dial knows, and what it does in each of its states.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use tokio::time::Instant;
use tollgate_core::{BoxError, DialInfo, Phase, phase};
use tower_service::Service;

use crate::config::{MAX_ADDRESSES, Shared};
use crate::error::{DialError, Report};
use crate::heat::{Heard, Heat};
use crate::race::{Race, interleave};
use crate::stream::DialStream;
use crate::target::Target;
use crate::unix;

/// What a poll of a state came to.
pub(crate) enum Moved<A: Service<SocketAddr>> {
    Done(Result<DialStream<A::Response>, DialError>),
    Racing(Heat<A>),
    Waits(Option<Instant>),
}

/// What stays the same through the states.
pub(crate) struct Dialling<A> {
    shared: Arc<Shared>,
    attempt: A,
    target: Target,
    /// The first poll.
    began: Option<Instant>,
    dns: Option<Duration>,
    blocked: Vec<SocketAddr>,
}

impl<A> Dialling<A> {
    pub(crate) fn new(shared: Arc<Shared>, attempt: A, target: Target) -> Self {
        Self {
            shared,
            attempt,
            target,
            began: None,
            dns: None,
            blocked: Vec::new(),
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it was not polled yet.
    pub(crate) fn is_new(&self) -> bool {
        self.began.is_none()
    }

    pub(crate) fn resolved(&mut self, now: Instant) {
        self.dns = self.began.map(|began| now - began);
    }

    /// When the dial's time is up. The first call is the start of the dial.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let began = *self.began.get_or_insert(now);
        // A limit beyond what an `Instant` can hold is none.
        began.checked_add(self.shared.config.connect_timeout?)
    }

    pub(crate) fn report(&mut self) -> Report {
        Report {
            host: self.target.host.clone(),
            port: self.target.port,
            elapsed: self.began.map_or(Duration::ZERO, |began| began.elapsed()),
            dns: self.dns,
            attempts: Vec::new(),
            failures: Vec::new(),
            blocked: std::mem::take(&mut self.blocked),
            path: None,
        }
    }

    fn info(&self) -> DialInfo {
        let mut info = DialInfo::default();
        info.dns = self.dns;
        info
    }
}

impl<A> Dialling<A>
where
    A: Service<SocketAddr> + Clone,
    A::Response: Connection,
    A::Error: Into<BoxError>,
{
    /// Puts what may be dialled in order. The policy sees every address, literal or not.
    pub(crate) fn race(
        &mut self,
        addrs: impl IntoIterator<Item = SocketAddr>,
        now: Instant,
    ) -> Moved<A> {
        let config = &self.shared.config;
        let mut known = 0;
        let mut permitted = Vec::new();
        for addr in addrs.into_iter().take(MAX_ADDRESSES) {
            let addr = self.target.with_port(addr);
            if config.only.is_some_and(|only| !only.has(addr)) {
                continue;
            }
            known += 1;
            if config.policy.permits(addr.ip()) {
                permitted.push(addr);
            } else {
                self.blocked.push(addr);
            }
        }
        if known == 0 {
            return Moved::Done(Err(DialError::no_addresses(self.report())));
        }
        if permitted.is_empty() {
            return Moved::Done(Err(DialError::blocked_by_policy(self.report())));
        }
        let host = &self.target.host;
        let order = match permitted.len() {
            1 => interleave(permitted),
            _ => self.shared.memory.order(host, permitted, now),
        };
        phase::enter(Phase::Tcp);
        let race = Race::new(config.pace, self.began.unwrap_or(now), order);
        let shared = Arc::clone(&self.shared);
        Moved::Racing(Heat::new(shared, host.clone(), self.attempt.clone(), race))
    }

    pub(crate) fn run(
        &mut self,
        heat: &mut Heat<A>,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Moved<A> {
        match heat.poll(cx, now) {
            Heard::Waits(until) => Moved::Waits(until),
            Heard::Lost => {
                let mut report = self.report();
                (report.attempts, report.failures) = heat.take_report();
                Moved::Done(Err(DialError::all_failed(report)))
            }
            Heard::Won(addr, io) => {
                let mut info = self.info();
                info.remote = Some(addr);
                info.local = local_addr(&io);
                info.connect = Some(heat.race().first_start().elapsed());
                info.attempts = heat.race().attempts().into();
                Moved::Done(Ok(DialStream::of_attempt(io, info)))
            }
        }
    }

    pub(crate) fn dial_unix(&mut self) -> Result<DialStream<A::Response>, DialError> {
        let began = self.began.unwrap_or_else(Instant::now);
        let path = self.shared.config.unix_path(&self.target.host);
        let path = path.unwrap_or_else(|| "".as_ref()).to_owned();
        match unix::connect(&path) {
            Ok(io) => {
                let mut info = self.info();
                info.connect = Some(began.elapsed());
                Ok(DialStream::of_unix(io, info))
            }
            Err(error) => Err(DialError::unix_socket(path, error, self.report())),
        }
    }
}

fn local_addr(io: &impl Connection) -> Option<SocketAddr> {
    let mut extras = http::Extensions::new();
    io.connected().get_extras(&mut extras);
    extras.get().map(HttpInfo::local_addr)
}
