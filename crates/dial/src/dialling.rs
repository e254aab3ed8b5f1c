//! What a dial knows, and what it does in each of its states.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use tokio::time::Instant;
use tollgate_core::late::Late;
use tollgate_core::{BoxError, DialInfo, Phase, phase};
use tower_service::Service;

use crate::config::{MAX_ADDRESSES, Shared};
use crate::error::{DialError, Report};
use crate::heat::{Heard, Heat};
use crate::held::Held;
use crate::race::Race;
use crate::stream::DialStream;
use crate::target::Target;
use crate::unix;

/// What a poll of a state came to.
pub(crate) enum Moved<A: Service<SocketAddr>> {
    Done(Result<DialStream<A::Response>, DialError>),
    Held(Held),
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
            awaited: false,
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
    /// The resolver's answer, and what it says is still to come.
    pub(crate) fn answered(
        &mut self,
        addrs: impl IntoIterator<Item = SocketAddr>,
        late: Option<Late>,
        now: Instant,
    ) -> Moved<A> {
        let first = self.permitted(addrs, |_| false);
        // Of one family only, there is nothing more to come once there is something.
        let is_all = |first: &[_]| !(first.is_empty() && self.blocked.is_empty());
        let late = late.filter(|_| self.shared.config.only.is_none() || !is_all(&first));
        let delay = self.shared.config.resolution_delay;
        match Held::or_released(first, late, delay, now) {
            Ok(held) => Moved::Held(held),
            Err(released) => self.race(released.first, released.late, now),
        }
    }

    pub(crate) fn hold(&mut self, held: &mut Held, cx: &mut Context<'_>, now: Instant) -> Moved<A> {
        let Poll::Ready(released) = held.poll(cx, now) else {
            return Moved::Waits(Some(held.until()));
        };
        self.resolved(now);
        // In the order of the whole answer, as if there had been no other.
        let mut addrs = self.permitted(released.whole, |_| false);
        addrs.extend(released.first);
        self.race(addrs, released.late, now)
    }

    /// What may be dialled, but for what `has` has. The policy sees every address, literal or not.
    fn permitted(
        &mut self,
        addrs: impl IntoIterator<Item = SocketAddr>,
        has: impl Fn(SocketAddr) -> bool,
    ) -> Vec<SocketAddr> {
        let config = &self.shared.config;
        let addrs = addrs.into_iter().map(|addr| self.target.with_port(addr));
        let new = addrs.filter(|addr| !has(*addr)).take(MAX_ADDRESSES);
        let mut permitted = Vec::new();
        for addr in new {
            if config.only.is_some_and(|only| !only.has(addr)) {
                continue;
            }
            if config.policy.permits(addr.ip()) {
                permitted.push(addr);
            } else if !self.blocked.contains(&addr) {
                self.blocked.push(addr);
            }
        }
        permitted
    }

    fn race(&mut self, addrs: Vec<SocketAddr>, late: Option<Late>, now: Instant) -> Moved<A> {
        if addrs.is_empty() && late.is_none() {
            return Moved::Done(Err(self.nothing_to_dial()));
        }
        if !addrs.is_empty() {
            phase::enter(Phase::Tcp);
        }
        let order = self.in_order(addrs, now);
        let shared = Arc::clone(&self.shared);
        let race = Race::new(shared.config.pace, self.began.unwrap_or(now), order);
        let host = self.target.host.clone();
        Moved::Racing(Heat::new(shared, host, self.attempt.clone(), race, late))
    }

    fn in_order(&self, addrs: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        if addrs.len() < 2 {
            return addrs;
        }
        let count = self.shared.config.pace.first_family_count;
        let memory = &self.shared.memory;
        memory.order(&self.target.host, addrs, count, now)
    }

    fn nothing_to_dial(&mut self) -> DialError {
        if self.blocked.is_empty() {
            DialError::no_addresses(self.report())
        } else {
            DialError::blocked_by_policy(self.report())
        }
    }

    fn came_late(&mut self, heat: &mut Heat<A>, addrs: Vec<SocketAddr>, now: Instant) {
        let new = self.permitted(addrs, |addr| heat.race().has(addr));
        if !new.is_empty() {
            phase::enter(Phase::Tcp);
            heat.join(self.in_order(new, now));
        }
    }

    pub(crate) fn run(
        &mut self,
        heat: &mut Heat<A>,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Moved<A> {
        if let Poll::Ready(addrs) = heat.poll_late(cx) {
            self.came_late(heat, addrs, now);
        }
        match heat.poll(cx, now) {
            Heard::Waits(until) => Moved::Waits(until),
            Heard::Lost if heat.awaits_more() => {
                phase::enter(Phase::Dns);
                Moved::Waits(None)
            }
            Heard::Lost if heat.race().attempts().is_empty() => {
                Moved::Done(Err(self.nothing_to_dial()))
            }
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
