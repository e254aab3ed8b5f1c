//! The open attempts of a dial: drives a [`Race`] with real sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tollgate_core::late::Late;
use tollgate_core::{Attempt, AttemptOutcome, BoxError, ConnectErrorKind, phase};
use tower_service::Service;

use crate::classify::classify;
use crate::config::Shared;
use crate::error::FailedAttempt;
use crate::race::{Race, Step};

/// One race and its open attempts. Dropping it closes every socket that is still open.
pub(crate) struct Racing<A: Service<SocketAddr>> {
    shared: Arc<Shared>,
    host: Box<str>,
    service: A,
    /// There was more than one address: a single one teaches nothing about the order.
    choice: bool,
    race: Race,
    /// Addresses that are still to come.
    late: Option<Late>,
    /// At most `max_concurrent`; the oldest first, which also wins a tie.
    open: Vec<Open<A>>,
    failures: Vec<FailedAttempt>,
    /// Won, or reported as failed.
    ended: bool,
}

struct Open<A: Service<SocketAddr>> {
    number: usize,
    addr: SocketAddr,
    run: Pin<Box<Run<A>>>,
}

/// The result of a poll of the open attempts.
pub(crate) enum Progress<T> {
    /// This attempt connected first.
    Won(SocketAddr, T),
    /// Every attempt there was has failed.
    AllFailed,
    /// Poll again after a wake, or then.
    Waiting(Option<Instant>),
}

impl<A> Racing<A>
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
            ended: false,
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
        // A future that has ended must not be polled again, and the race no longer waits for it.
        self.late = None;
        Poll::Ready(addrs)
    }

    /// Adds addresses that the race does not have, after the others.
    pub(crate) fn join(&mut self, addrs: Vec<SocketAddr>, now: Instant) {
        self.race.join(addrs, now);
        // One address alone had nothing to teach; with these there is an order to remember.
        self.choice |= self.race.candidates() > 1;
    }

    /// Returns `true` while addresses are still to come that could be tried.
    pub(crate) fn awaits_more(&self) -> bool {
        self.late.is_some() && self.race.is_open_to_more()
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress<A::Response> {
        let mut at = 0;
        // Those that are open before another is started: one that has connected makes it needless.
        while at < self.open.len() {
            match self.poll_one(at, cx) {
                Poll::Ready(Some((addr, io))) => return Progress::Won(addr, io),
                Poll::Ready(None) => {}
                Poll::Pending => at += 1,
            }
        }
        loop {
            match self.race.step(now) {
                Step::Start(number, addr) => self.start(number, addr),
                Step::GiveUp(number, addr) => {
                    self.give_up(number, addr);
                    continue;
                }
                Step::WaitUntil(due) => return Progress::Waiting(Some(due)),
                Step::Wait => return Progress::Waiting(None),
                Step::Exhausted => return Progress::AllFailed,
            }
            // At once: only the poll opens its socket, and without one nothing would wake this task
            // for it.
            if let Poll::Ready(Some((addr, io))) = self.poll_one(self.open.len() - 1, cx) {
                return Progress::Won(addr, io);
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
        // Not `swap_remove`: the oldest stay first, and win a tie.
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

    /// Closes an attempt that makes room for the next.
    fn give_up(&mut self, number: usize, addr: SocketAddr) {
        // The socket closes before the callback runs, as at the other ends.
        self.open.retain(|open| open.number != number);
        let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let failed = FailedAttempt::new(addr, ConnectErrorKind::Timeout, error.into());
        self.report_failed(addr, failed);
    }

    fn won(&mut self, number: usize) {
        // First: whatever ends it from here on, this is no race without a winner.
        self.ended = true;
        // The losers' sockets are closed before a callback runs, which may take long.
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
            self.shared.report(addr, outcome);
        }
    }

    fn failed(&mut self, number: usize, addr: SocketAddr, error: BoxError) {
        let (kind, bars) = classify(addr, &*error);
        self.race.failed(number, kind, bars);
        self.report_failed(addr, FailedAttempt::new(addr, kind, error));
    }

    fn report_failed(&mut self, addr: SocketAddr, failed: FailedAttempt) {
        let outcome = failed.outcome();
        self.failures.push(failed);
        phase::end_attempt(addr, outcome);
        self.shared.report(addr, outcome);
    }

    pub(crate) fn take_report(&mut self) -> (Vec<Attempt>, Vec<FailedAttempt>) {
        let attempts = self.race.attempts().to_vec();
        (attempts, std::mem::take(&mut self.failures))
    }
}

impl<A: Service<SocketAddr>> Racing<A> {
    /// Ends the race without a winner, once: by failure, by the dial's own time limit, or by a drop,
    /// which is how a budget above ends it. All three have to teach the same, or a black hole under a
    /// budget is dialled again and again.
    ///
    /// Attempts that had their chance count as timed out; the next dial begins with the addresses that
    /// this one did not get to; and the answer is reported as failed, also if addresses of it are
    /// untried: under a short budget and a long answer, the dials that get to the last one would be
    /// as many as the answer is long, each a failed request, while the name has long moved.
    pub(crate) fn end(&mut self, now: Instant) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // Closed before a callback runs, as for a race that is won.
        self.open.clear();
        self.late = None;
        let timed_out = self.race.expire(now);
        // Where all were tried none is better than another for the next dial.
        if self.race.has_untried() {
            let attempts = self.race.attempts();
            self.shared.memory.ran_out(&self.host, attempts, now);
        }
        for addr in timed_out {
            let outcome = AttemptOutcome::Failed(ConnectErrorKind::Timeout);
            phase::end_attempt(addr, outcome);
            self.shared.report(addr, outcome);
        }
        // Attempts that were started last had no chance, but the answer as a whole had.
        if self.race.has_timed_out() || self.race.all_failed() {
            self.shared.report_all_failed(&self.host);
        }
    }
}

impl<A: Service<SocketAddr>> Drop for Racing<A> {
    fn drop(&mut self) {
        // A callback that panicked must not be called again while its panic unwinds.
        if !std::thread::panicking() {
            self.end(Instant::now());
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
