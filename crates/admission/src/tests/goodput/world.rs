//! The simulation: callers that leave at their limits, and a peer that works off what it was sent.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::call::{Call, Happens, Random, Stage, Woken};
use super::line::{Asked, End};
use super::{Line, Load, Outcome};

struct World<'a, L: Line> {
    load: &'a Load,
    line: L,
    epoch: Instant,
    random: Random,
    /// Of the peer's times, so that callers are the same whatever was served.
    service: Random,
    events: BinaryHeap<Reverse<(Duration, u64, Happens)>>,
    count: u64,
    now: Duration,
    calls: Vec<Call<L::Lease>>,
    woken: Arc<Mutex<Vec<usize>>>,
    waiting: usize,
    busy: usize,
    backlog: VecDeque<usize>,
    second: Duration,
    outcome: Outcome,
}

/// Plays a load against one machine.
pub(in crate::tests) fn simulate<L: Line>(load: &Load) -> Outcome {
    let longest = load.limits.iter().max().copied().unwrap_or_default();
    let mut world = World {
        load,
        line: L::new(load),
        epoch: Instant::now(),
        random: Random(load.seed),
        service: Random(!load.seed),
        events: BinaryHeap::new(),
        count: 0,
        now: Duration::ZERO,
        calls: Vec::new(),
        woken: Arc::default(),
        waiting: 0,
        busy: 0,
        backlog: VecDeque::new(),
        second: longest + load.hold,
        outcome: Outcome::default(),
    };
    for caller in 0..load.callers {
        let at = world.random.next() * 0.02;
        world.at(Duration::from_secs_f64(at), Happens::Call(Some(caller)));
    }
    if load.rate > 0.0 {
        world.at(Duration::ZERO, Happens::Call(None));
    }
    while let Some(Reverse((at, _, happens))) = world.events.pop() {
        if at >= load.lasts {
            break;
        }
        world.now = at;
        world.happens(happens);
    }
    let seconds = (load.until.saturating_sub(world.second)).as_secs_f64();
    let per_second = load.cap as f64 / load.hold.as_secs_f64();
    let callers = load.callers.min(load.cap) as f64 / load.hold.as_secs_f64();
    let offered = if load.rate > 0.0 { load.rate } else { callers };
    world.outcome.possible = per_second.min(offered) * seconds;
    (world.outcome.opened, world.outcome.turns) = world.line.opened();
    world.outcome
}

impl<L: Line> World<'_, L> {
    fn at(&mut self, at: Duration, happens: Happens) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, happens)));
    }

    fn clock(&self) -> Instant {
        self.epoch + self.now
    }

    fn happens(&mut self, happens: Happens) {
        match happens {
            Happens::Call(caller) => self.call(caller),
            Happens::Limit(call) => self.limit(call),
            Happens::Due(call) => {
                let now = self.clock();
                self.line.tick(now);
                self.look(call);
            }
            Happens::Answer(call) => self.answer(call),
            Happens::GiveUp(call) => {
                if let Stage::Draining(lease) = self.calls[call].stage {
                    self.end(call, lease, End::Closed);
                }
            }
        }
        self.look_at_line();
    }

    fn call(&mut self, caller: Option<usize>) {
        if self.now >= self.load.until {
            return;
        }
        if caller.is_none() {
            let next = -(1.0 - self.random.next()).ln() / self.load.rate;
            self.at(
                self.now + Duration::from_secs_f64(next),
                Happens::Call(None),
            );
        }
        let patient = caller.is_some_and(|caller| caller < self.load.patient);
        let limits = &self.load.limits;
        let one = (self.random.next() * limits.len() as f64) as usize;
        let limit = (!patient).then(|| limits[one.min(limits.len() - 1)]);
        let ends_at = limit
            .filter(|_| self.load.told)
            .map(|limit| self.clock() + limit);
        let now = self.clock();
        let asked = self.line.demand(now, ends_at);
        let call = self.calls.len();
        self.calls.push(Call {
            caller,
            patient,
            born: self.now,
            granted: self.now,
            stage: Stage::Over,
        });
        if let Some(limit) = limit {
            self.at(self.now + limit, Happens::Limit(call));
        }
        match asked {
            Asked::Granted(lease) => self.send(call, lease),
            Asked::Refused => self.over(call, false),
            Asked::Queued(ticket) => {
                self.calls[call].stage = Stage::Waiting(ticket);
                self.waiting += 1;
                self.at(self.now + Duration::from_millis(3_001), Happens::Due(call));
                self.look(call);
            }
        }
    }

    fn look(&mut self, call: usize) {
        let Stage::Waiting(ticket) = self.calls[call].stage else {
            return;
        };
        let now = self.clock();
        let waker = Waker::from(Arc::new(Woken(call, self.woken.clone())));
        match self.line.poll(now, ticket, &waker) {
            Poll::Pending => return,
            Poll::Ready(Some(lease)) => self.send(call, lease),
            Poll::Ready(None) => self.over(call, false),
        }
        self.waiting -= 1;
    }

    /// Those whose turn has come collect it.
    fn look_at_line(&mut self) {
        loop {
            self.line.run(self.clock());
            let woken = std::mem::take(&mut *self.woken.lock().expect("no panic"));
            if woken.is_empty() {
                break;
            }
            for call in woken {
                self.look(call);
            }
        }
        if self.waiting == 0 && self.now >= self.load.until {
            let since = self.now.saturating_sub(self.load.until);
            self.outcome.recovered.get_or_insert(since);
        }
    }

    fn send(&mut self, call: usize, lease: L::Lease) {
        self.calls[call].granted = self.now;
        self.calls[call].stage = Stage::InFlight(lease);
        self.backlog.push_back(call);
        self.work();
    }

    fn work(&mut self) {
        while self.busy < self.load.cap
            && let Some(call) = self.backlog.pop_front()
        {
            self.busy += 1;
            let spread = self.load.jitter * (self.service.next() * 2.0 - 1.0);
            self.at(
                self.now + self.load.hold.mul_f64(1.0 + spread),
                Happens::Answer(call),
            );
        }
    }

    fn answer(&mut self, call: usize) {
        self.busy -= 1;
        self.work();
        match self.calls[call].stage {
            Stage::InFlight(lease) => {
                self.outcome.good += 1;
                let later = self.now >= self.second && self.now < self.load.until;
                self.outcome.later += usize::from(later);
                self.end(call, lease, End::Good);
                self.over(call, true);
            }
            Stage::Draining(lease) => self.end(call, lease, End::Drained),
            Stage::Waiting(_) | Stage::Over => {}
        }
    }

    fn end(&mut self, call: usize, lease: L::Lease, end: End) {
        self.calls[call].stage = Stage::Over;
        let held = self.now.saturating_sub(self.calls[call].granted);
        let now = self.clock();
        self.line.end(now, lease, held, end);
    }

    fn limit(&mut self, call: usize) {
        let now = self.clock();
        match self.calls[call].stage {
            Stage::Waiting(ticket) => {
                self.line.cancel(now, ticket);
                self.waiting -= 1;
            }
            Stage::InFlight(lease) => {
                self.outcome.died += 1;
                let granted = self.calls[call].granted;
                let waited = granted.saturating_sub(self.calls[call].born);
                let held = self.now.saturating_sub(granted);
                match self.line.leave(now, waited, held) {
                    Some(due) => {
                        self.calls[call].stage = Stage::Draining(lease);
                        self.at(self.now + due, Happens::GiveUp(call));
                        return self.again(call);
                    }
                    None => self.end(call, lease, End::Closed),
                }
            }
            Stage::Draining(_) | Stage::Over => return,
        }
        self.over(call, false);
    }

    fn over(&mut self, call: usize, good: bool) {
        let Call { patient, born, .. } = self.calls[call];
        self.calls[call].stage = Stage::Over;
        if patient && good {
            self.outcome.patient = self.outcome.patient.max(self.now.saturating_sub(born));
        }
        self.outcome.patient_refused += usize::from(patient && !good);
        self.again(call);
    }

    /// Callers go on at once, but for one that was refused: it would do nothing else.
    fn again(&mut self, call: usize) {
        let Call { caller, born, .. } = self.calls[call];
        let pause = if born == self.now {
            self.load.hold / 4
        } else {
            Duration::from_micros(1)
        };
        if let Some(caller) = caller {
            self.at(self.now + pause, Happens::Call(Some(caller)));
        }
    }
}
