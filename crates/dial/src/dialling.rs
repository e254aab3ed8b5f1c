//! The context of a dial, and the work of each of its states.

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
use crate::race::Race;
use crate::racing::{Progress, Racing};
use crate::resolution_delay::ResolutionDelay;
use crate::stream::DialStream;
use crate::target::Target;
use crate::unix;

/// The result of a poll of one state.
pub(crate) enum Transition<A: Service<SocketAddr>> {
    Done(Result<DialStream<A::Response>, DialError>),
    Delayed(ResolutionDelay),
    Racing(Box<Racing<A>>),
    Waiting(Option<Instant>),
}

/// The part of a dial that all of its states share.
pub(crate) struct Dialling<A> {
    shared: Arc<Shared>,
    attempt: A,
    target: Target,
    /// The first poll.
    began: Option<Instant>,
    deadline: Option<Instant>,
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
            deadline: None,
            dns: None,
            blocked: Vec::new(),
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Returns `true` until the first poll.
    pub(crate) fn is_new(&self) -> bool {
        self.began.is_none()
    }

    pub(crate) fn resolved(&mut self, now: Instant) {
        self.dns = self.began.map(|began| now - began);
    }

    /// The end of the dial's own time. The first call is the start of the dial.
    ///
    /// A budget above is not in it: the layer that keeps the budget ends the dial, with an error that
    /// names its own limit. See [`time_for`](Self::time_for).
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let config = &self.shared.config;
        if self.is_new() {
            self.began = Some(now);
            // At the first poll, since only within a poll is the scope of the layer above there.
            let gives_way = config.default_timeout && phase::left(Phase::Connect).is_some();
            let own = config.connect_timeout.filter(|_| !gives_way);
            // A limit beyond what an `Instant` can hold is none.
            self.deadline = own.and_then(|limit| now.checked_add(limit));
        }
        self.deadline
    }

    /// The longest time for a phase that begins now, by the dial's own limit and the budgets above.
    fn time_for(&self, phase: Phase, now: Instant) -> Option<Duration> {
        let own = self.deadline.map(|at| at.saturating_duration_since(now));
        own.into_iter().chain(phase::left(phase)).min()
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
    /// The resolver's answer, and the late addresses.
    pub(crate) fn answered(
        &mut self,
        addrs: impl IntoIterator<Item = SocketAddr>,
        late: Option<Late>,
        now: Instant,
    ) -> Transition<A> {
        let first = self.permitted(addrs, |_| false);
        // Of one family only, there is nothing more to come once there is something.
        let is_all = |first: &[_]| !(first.is_empty() && self.blocked.is_empty());
        let late = late.filter(|_| self.shared.config.only.is_none() || !is_all(&first));
        let mut delay = self.shared.config.resolution_delay;
        // The wait for IPv6 must leave the time to dial what is there.
        if let Some(left) = self.time_for(Phase::Connect, now) {
            delay = delay.min(left / 4);
        }
        match ResolutionDelay::or_released(first, late, delay, now) {
            Ok(delay) => Transition::Delayed(delay),
            Err(released) => self.race(released.first, released.late, now),
        }
    }

    pub(crate) fn wait_for_v6(
        &mut self,
        delay: &mut ResolutionDelay,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Transition<A> {
        let Poll::Ready(released) = delay.poll(cx, now) else {
            return Transition::Waiting(Some(delay.until()));
        };
        // Noted anew: the wait for the other family was a part of the resolution.
        self.resolved(now);
        // In the order of the whole answer, as if there had been no other.
        let mut addrs = self.permitted(released.whole, |_| false);
        addrs.extend(released.first);
        self.race(addrs, released.late, now)
    }

    /// The addresses that may be dialled and that `has` does not have. The policy sees every address,
    /// literal or not.
    fn permitted(
        &mut self,
        addrs: impl IntoIterator<Item = SocketAddr>,
        has: impl Fn(SocketAddr) -> bool,
    ) -> Vec<SocketAddr> {
        let config = &self.shared.config;
        let addrs = addrs.into_iter().map(|addr| self.target.with_port(addr));
        let mut permitted = Vec::new();
        for addr in addrs.filter(|addr| !has(*addr)) {
            // Before the policy: what no socket could reach is not called forbidden.
            if config.only.is_some_and(|only| !only.has(addr)) {
                continue;
            }
            if config.policy.permits(addr.ip()) {
                permitted.push(addr);
            } else if self.blocked.len() < MAX_ADDRESSES && !self.blocked.contains(&addr) {
                self.blocked.push(addr);
            }
        }
        permitted
    }

    fn race(&mut self, addrs: Vec<SocketAddr>, late: Option<Late>, now: Instant) -> Transition<A> {
        if addrs.is_empty() && late.is_none() {
            return Transition::Done(Err(self.nothing_to_dial()));
        }
        // Without an address yet it still resolves, and a timeout above is to name that.
        if !addrs.is_empty() {
            phase::enter(Phase::Tcp);
        }
        let order = self.in_order(addrs, now);
        let shared = Arc::clone(&self.shared);
        let race = Race::new(shared.config.pace, self.began.unwrap_or(now), order);
        let time = self.time_for(Phase::Tcp, now);
        let race = race.until(time.and_then(|time| now.checked_add(time)), now);
        let host = self.target.host.clone();
        Transition::Racing(Box::new(Racing::new(
            shared,
            host,
            self.attempt.clone(),
            race,
            late,
        )))
    }

    fn in_order(&self, addrs: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        // No order to look up: the memory's lock is spared.
        if addrs.len() < 2 {
            return addrs;
        }
        let count = self.shared.config.pace.first_family_count;
        let memory = &self.shared.memory;
        let mut order = memory.order(&self.target.host, addrs, count, now);
        // Cut last: before, the cut could leave out a whole family, or all that is permitted.
        order.truncate(MAX_ADDRESSES);
        order
    }

    fn nothing_to_dial(&mut self) -> DialError {
        if self.blocked.is_empty() {
            DialError::no_addresses(self.report())
        } else {
            DialError::blocked_by_policy(self.report())
        }
    }

    fn came_late(&mut self, racing: &mut Racing<A>, addrs: Vec<SocketAddr>, now: Instant) {
        let new = self.permitted(addrs, |addr| racing.race().has(addr));
        if !new.is_empty() {
            phase::enter(Phase::Tcp);
            racing.join(self.in_order(new, now), now);
        }
    }

    pub(crate) fn run(
        &mut self,
        racing: &mut Racing<A>,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Transition<A> {
        // Before the race is polled: what has come may be dialled in this poll, and a race that
        // would be over goes on.
        if let Poll::Ready(addrs) = racing.poll_late(cx) {
            self.came_late(racing, addrs, now);
        }
        match racing.poll(cx, now) {
            Progress::Waiting(until) => Transition::Waiting(until),
            Progress::AllFailed if racing.awaits_more() => {
                // The race has nothing open: it is the resolver that a timeout from here on ends.
                phase::enter(Phase::Dns);
                Transition::Waiting(None)
            }
            // What came late was nothing, or nothing that may be dialled: no attempt has failed.
            Progress::AllFailed if racing.race().attempts().is_empty() => {
                Transition::Done(Err(self.nothing_to_dial()))
            }
            Progress::AllFailed => {
                // Here and not by its drop: the callbacks have run before the caller has the error.
                racing.end(now);
                let mut report = self.report();
                (report.attempts, report.failures) = racing.take_report();
                Transition::Done(Err(DialError::all_failed(report)))
            }
            Progress::Won(addr, io) => {
                let mut info = self.info();
                info.remote = Some(addr);
                info.local = local_addr(&io);
                info.connect = Some(racing.race().first_start().elapsed());
                info.attempts = racing.race().attempts().into();
                Transition::Done(Ok(DialStream::of_attempt(io, info)))
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
