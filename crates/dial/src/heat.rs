//! Runs a [`Race`] over real attempts.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tollgate_core::late::Late;
use tollgate_core::{Attempt, AttemptOutcome, BoxError, phase};
use tower_service::Service;

use crate::config::{GRACE, Shared};
use crate::error::FailedAttempt;
use crate::judge::judge;
use crate::race::{Race, Step};

/// One race and its open attempts. Dropping it closes every socket that is still open.
pub(crate) struct Heat<A: Service<SocketAddr>> {
    shared: Arc<Shared>,
    host: Box<str>,
    service: A,
    /// Whether there was a choice: a single address teaches nothing.
    choice: bool,
    race: Race,
    /// Addresses that are still to come.
    late: Option<Late>,
    /// At most `max_concurrent`; the oldest first, which is also who wins a tie.
    open: Vec<Open<A>>,
    failures: Vec<FailedAttempt>,
}

struct Open<A: Service<SocketAddr>> {
    number: usize,
    addr: SocketAddr,
    run: Pin<Box<Run<A>>>,
}

/// What a poll of a heat came to.
pub(crate) enum Heard<T> {
    /// This attempt won.
    Won(SocketAddr, T),
    /// Every attempt there was has failed.
    Lost,
    /// Poll again after a wake, or then.
    Waits(Option<Instant>),
}

impl<A> Heat<A>
where
    A: Service<SocketAddr> + Clone,
    A::Error: Into<BoxError>,
{
    pub(crate) fn new(
        shared: Arc<Shared>,
        host: Box<str>,
        service: A,
        race: Race,
        late: Option<Late>,
    ) -> Self {
        Self {
            shared,
            host,
            service,
            choice: race.candidates() > 1,
            race,
            late,
            open: Vec::new(),
            failures: Vec::new(),
        }
    }

    pub(crate) fn race(&self) -> &Race {
        &self.race
    }

    /// The addresses that came late, once.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Vec<SocketAddr>> {
        let Some(late) = &mut self.late else {
            return Poll::Pending;
        };
        let addrs = ready!(Pin::new(late).poll(cx));
        self.late = None;
        Poll::Ready(addrs)
    }

    /// Lets addresses that the race does not have run too, after the others.
    pub(crate) fn join(&mut self, addrs: Vec<SocketAddr>) {
        self.race.join(addrs);
        self.choice |= self.race.candidates() > 1;
    }

    /// Whether addresses are still to come that could be tried.
    pub(crate) fn awaits_more(&self) -> bool {
        self.late.is_some() && self.race.is_open_to_more()
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Heard<A::Response> {
        let mut at = 0;
        while at < self.open.len() {
            match self.poll_one(at, cx) {
                Poll::Ready(Some((addr, io))) => return Heard::Won(addr, io),
                Poll::Ready(None) => {}
                Poll::Pending => at += 1,
            }
        }
        loop {
            match self.race.step(now) {
                Step::Start(number, addr) => self.start(number, addr),
                Step::WaitUntil(due) => return Heard::Waits(Some(due)),
                Step::Wait => return Heard::Waits(None),
                Step::Exhausted => return Heard::Lost,
            }
            if let Poll::Ready(Some((addr, io))) = self.poll_one(self.open.len() - 1, cx) {
                return Heard::Won(addr, io);
            }
        }
    }

    fn start(&mut self, number: usize, addr: SocketAddr) {
        phase::start_attempt(addr, self.race.attempts()[number].started_after);
        let service = self.service.clone();
        let run = Box::pin(Run::Unready { service, addr });
        self.open.push(Open { number, addr, run });
    }

    /// Ready with `None` if the attempt failed: it is no longer among the open ones then.
    fn poll_one(
        &mut self,
        at: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(SocketAddr, A::Response)>> {
        let polled = ready!(self.open[at].run.as_mut().poll(cx));
        let Open { number, addr, .. } = self.open.remove(at);
        match polled {
            Ok(io) => {
                self.won(number);
                Poll::Ready(Some((addr, io)))
            }
            Err(error) => {
                self.failed(number, addr, error.into());
                Poll::Ready(None)
            }
        }
    }

    fn won(&mut self, number: usize) {
        let open_before = self.open.drain(..).map(|open| open.number);
        let ended: Vec<_> = open_before.chain([number]).collect();
        self.late = None;
        self.race.won(number);
        let attempts = self.race.attempts();
        if self.choice {
            self.shared.memory.won(&self.host, attempts, Instant::now());
        }
        for number in ended {
            let Attempt { addr, outcome, .. } = attempts[number];
            phase::end_attempt(addr, outcome);
            self.shared.tell(addr, outcome);
        }
    }

    fn failed(&mut self, number: usize, addr: SocketAddr, error: BoxError) {
        let (kind, bars) = judge(addr, &*error);
        self.race.failed(number, kind, bars);
        let failed = FailedAttempt::new(addr, kind, error);
        let outcome = failed.outcome();
        self.failures.push(failed);
        phase::end_attempt(addr, outcome);
        self.shared.tell(addr, outcome);
    }

    /// The dial's time is up. Gives up what is open and says what there was.
    pub(crate) fn expire(&mut self, now: Instant) -> (Vec<Attempt>, Vec<FailedAttempt>) {
        self.give_up(now);
        let slow: Vec<_> = self.race.slow(now, GRACE).collect();
        self.race.expire(now, GRACE);
        for addr in slow {
            let outcome = AttemptOutcome::Failed(tollgate_core::ConnectErrorKind::TimedOut);
            phase::end_attempt(addr, outcome);
            self.shared.tell(addr, outcome);
        }
        self.take_report()
    }

    pub(crate) fn take_report(&mut self) -> (Vec<Attempt>, Vec<FailedAttempt>) {
        let attempts = self.race.attempts().to_vec();
        (attempts, std::mem::take(&mut self.failures))
    }
}

impl<A: Service<SocketAddr>> Heat<A> {
    /// Lets the next dial begin with the addresses that this one did not get to.
    fn give_up(&mut self, now: Instant) {
        if !self.open.is_empty() && self.race.has_untried() {
            let slow: Vec<_> = self.race.slow(now, GRACE).collect();
            self.shared.memory.ran_out(&self.host, &slow, now);
        }
        self.open.clear();
        self.late = None;
    }
}

impl<A: Service<SocketAddr>> Drop for Heat<A> {
    fn drop(&mut self) {
        if !self.open.is_empty() {
            self.give_up(Instant::now());
        }
    }
}

pin_project! {
    /// Waits until the service is ready, then for its call.
    #[project = RunProj]
    enum Run<A: Service<SocketAddr>> {
        Unready { service: A, addr: SocketAddr },
        Called { #[pin] future: A::Future },
    }
}

impl<A: Service<SocketAddr>> Future for Run<A> {
    type Output = Result<A::Response, A::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let future = match self.as_mut().project() {
                RunProj::Unready { service, addr } => {
                    ready!(service.poll_ready(cx))?;
                    service.call(*addr)
                }
                RunProj::Called { future } => return future.poll(cx),
            };
            self.set(Self::Called { future });
        }
    }
}
