//! The pool, its calls and its network, and what each step does to them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tollgate_admission::ResourceState;
use tollgate_core::{CloseReason, Origin};
use tower::{Layer, Service};

use super::calls::Call;
use super::network::{Network, Speaks};
use super::peer::Kind;
use super::runtimes::Runtimes;
use super::seen::Seen;
use super::{End, ORIGINS, Step};
use crate::pool::shared::Shared;
use crate::{KeepAlive, KeepAliveLayer, Protocol};

/// Longer than all time limits of the pool together.
const LONG: Duration = Duration::from_secs(600);

/// The time after which a reservation that is not collected lapses.
const RESERVED_FOR: Duration = Duration::from_millis(250);

/// The options of a sequence's pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) speaks: Speaks,
    pub(super) runtimes: usize,
    /// The number of times that one of them ends.
    pub(super) ends: usize,
    pub(super) cap: usize,
    pub(super) total: Option<usize>,
}

pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) runtimes: Runtimes,
    pub(super) pool: Option<KeepAlive>,
    pub(super) shared: Arc<Shared>,
    pub(super) network: Network,
    pub(super) seen: Arc<Seen>,
    pub(super) calls: Vec<Call>,
    /// Of the calls that have reached a peer, those whose order was looked at.
    pub(super) arrived: usize,
    /// With several runtimes, how many had arrived a step before that.
    pub(super) arrived_before: usize,
    made: usize,
    /// Of each call that was made.
    pub(super) origin_of: Vec<usize>,
    /// The most sockets that each origin may have: its cap, or those that it had when that sank.
    pub(super) most: [usize; ORIGINS],
    pub(super) caps: [usize; ORIGINS],
    /// The step may have cost a call the connection that it was granted.
    pub(super) lossy: bool,
    /// The calls with which their connection ends.
    pub(super) lossy_calls: Vec<usize>,
    /// The calls that may have lost a connection that they did not collect.
    pub(super) lost: Vec<usize>,
    /// Of each origin, whether a call of it was polled, or it was warmed.
    pub(super) asked: [bool; ORIGINS],
    /// The connections of each origin that had closed by the last step.
    closed: [usize; ORIGINS],
    /// The time that the last rest took.
    pub(super) rested: Duration,
}

fn n(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

pub(super) fn origin(number: usize) -> Origin {
    format!("http://{number}.test").parse().unwrap()
}

/// One of `there`, counted round.
pub(super) fn pick<T>(there: impl ExactSizeIterator<Item = T>, number: usize) -> Option<T> {
    let mut there = there;
    let length = there.len();
    (length > 0).then(|| there.nth(number % length)).flatten()
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let network = Network::new(setup.speaks);
        let seen = Arc::new(Seen::default());
        let mut layer = KeepAliveLayer::new()
            .max_connections_per_origin(n(setup.cap))
            .observer(seen.clone());
        if let Some(total) = setup.total {
            layer = layer.max_connections_total(n(total));
        }
        layer = layer.protocol(match setup.speaks {
            Speaks::Http1 => Protocol::Http1,
            Speaks::Http2 => Protocol::Http2,
            Speaks::Either => Protocol::Auto,
        });
        let pool: KeepAlive = layer.layer(network.clone());
        let shared = pool.shared().clone();
        Self {
            setup,
            runtimes: Runtimes::new(setup.runtimes, setup.ends),
            pool: Some(pool),
            shared,
            network,
            seen,
            calls: Vec::new(),
            arrived: 0,
            arrived_before: 0,
            made: 0,
            origin_of: Vec::new(),
            most: [setup.cap; ORIGINS],
            caps: [setup.cap; ORIGINS],
            lossy: false,
            lossy_calls: Vec::new(),
            lost: Vec::new(),
            asked: [false; ORIGINS],
            closed: [0; ORIGINS],
            rested: Duration::ZERO,
        }
    }

    pub(super) fn pool(&self) -> &KeepAlive {
        self.pool.as_ref().unwrap()
    }

    pub(super) fn step(&mut self, step: Step) {
        // While one of several runtimes sleeps, another is not driven: what is reserved there lapses.
        self.lossy = match step {
            Step::PeerCloses(_) | Step::RuntimeEnds(_) => true,
            Step::Sleep { .. } => self.runtimes.len() > 1,
            _ => false,
        };
        let waited: Vec<_> = self
            .calls
            .iter()
            .filter(|call| call.runs())
            .map(Call::name)
            .collect();
        match step {
            Step::Call { .. } | Step::Start { .. } | Step::Drop(_) | Step::Read(_) => {
                self.call(step);
            }
            Step::CloseIdle | Step::Retire { .. } | Step::Cap { .. } | Step::Warm { .. } => {
                self.administer(step);
            }
            Step::Sleep { millis } => self.runtimes.sleep(Duration::from_millis(millis)),
            Step::RuntimeEnds(number) => self.runtime_ends(number),
            _ => self.move_network(step),
        }
        self.rest();
        self.note_losses();
        self.check_order(&waited);
        self.check();
    }

    fn call(&mut self, step: Step) {
        match step {
            Step::Call {
                origin,
                kind,
                starts,
                on,
            } => self.make_call(origin, kind, starts, on),
            Step::Start { call, on } => {
                let made = self.calls.iter_mut().filter(|call| call.is_made());
                if let Some(call) = pick(made.collect::<Vec<_>>().into_iter(), call) {
                    call.start(&self.runtimes, on % self.runtimes.len());
                    self.asked[call.origin] = true;
                }
            }
            Step::Drop(number) => {
                let _context = self.runtimes.enter(0);
                if let Some(call) = pick(self.calls.iter_mut(), number) {
                    call.cancel();
                }
            }
            Step::Read(number) => {
                if let Some(call) = pick(self.calls.iter_mut(), number) {
                    call.read(&self.runtimes);
                }
            }
            _ => unreachable!(),
        }
    }

    fn make_call(&mut self, origin: usize, kind: Kind, starts: bool, on: usize) {
        let on = on % self.runtimes.len();
        let number = self.made;
        self.made += 1;
        self.origin_of.push(origin);
        let uri = format!("http://{origin}.test{}", kind.path(number));
        let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let call = {
            let _context = self.runtimes.enter(on);
            self.pool().clone().call(request)
        };
        let mut call = Call::new(number, origin, self.runtimes.now(), Box::pin(call));
        if starts {
            call.start(&self.runtimes, on);
            self.asked[origin] = true;
        }
        if matches!(kind, Kind::Lost | Kind::Last) {
            self.lossy_calls.push(number);
        }
        self.calls.push(call);
    }

    /// A call that is not polled does not see that the connection that it was granted is lost, nor that its
    /// reservation has lapsed. It stands first from its next poll on, and others may have had their turn by
    /// then.
    fn note_losses(&mut self) {
        let now = self.runtimes.now();
        let calls = self.calls.iter();
        let unpolled = calls.filter(|call| call.is_made() && now - call.made_at >= RESERVED_FOR);
        self.lost.extend(unpolled.map(|call| call.number));
        for pool in self.pool().all_origins() {
            let of = (0..ORIGINS).find(|of| pool.origin == origin(*of)).unwrap();
            let closed = self.seen.of(of).closed;
            let retiring = pool
                .lock()
                .engine
                .resources()
                .any(|one| one.state != ResourceState::Live);
            if retiring || closed > self.closed[of] {
                let calls = self.calls.iter();
                let unpolled = calls.filter(|call| call.is_made() && call.origin == of);
                self.lost.extend(unpolled.map(|call| call.number));
            }
            self.closed[of] = closed;
        }
    }

    /// A runtime ends with all that runs on it, in a sequence of several; another takes its place.
    fn runtime_ends(&mut self, number: usize) {
        if self.runtimes.len() == 1 {
            return;
        }
        let number = number % self.runtimes.len();
        self.runtimes.replace(number);
        let _context = self.runtimes.enter(number);
        for call in &mut self.calls {
            call.lose(number);
        }
    }

    fn administer(&mut self, step: Step) {
        let _context = self.runtimes.enter(0);
        match step {
            Step::CloseIdle => self.pool().close_idle(),
            Step::Retire { origin: of, odd } => {
                for pool in self.pool().all_origins() {
                    if pool.origin == origin(of) {
                        pool.retire(CloseReason::AddressGone, |conn| {
                            (conn.number % 2 == 1) == odd
                        });
                    }
                }
            }
            Step::Cap { origin: of, cap } => {
                self.pool()
                    .set_max_connections(&origin(of), n(cap))
                    .unwrap();
                self.caps[of] = cap;
            }
            Step::Warm { origin: of, n } => {
                self.asked[of] = true;
                self.pool().warm(&origin(of), n).unwrap();
            }
            _ => unreachable!(),
        }
    }

    fn move_network(&self, step: Step) {
        let _context = self.runtimes.enter(0);
        let mut state = self.network.lock();
        match step {
            Step::Release(number) => {
                let held: Vec<_> = state.held.keys().copied().collect();
                if let Some(call) = pick(held.into_iter(), number) {
                    let release = state.held.remove(&call);
                    let _gone = release.unwrap().send(());
                }
            }
            Step::Plan(dial) => state.plans.push_back(dial),
            Step::Speak { http2 } => state.http2 = state.may_speak(http2),
            Step::Decide { dial, connects } => {
                if !state.held_dials.is_empty() {
                    let dial = dial % state.held_dials.len();
                    let _gone = state.held_dials.remove(dial).send(connects);
                }
            }
            Step::PeerCloses(number) => {
                if let Some(close) = pick(state.closers.iter(), number) {
                    close.notify_one();
                }
            }
            _ => unreachable!(),
        }
    }

    /// Lets everything happen that can without time.
    pub(super) fn rest(&mut self) {
        self.rested = self.runtimes.rest();
        let _context = self.runtimes.enter_latest();
        for call in &mut self.calls {
            call.update();
        }
        self.calls.retain(|call| !call.is_over());
    }

    pub(super) fn end(mut self, end: End) {
        self.network.lock().plans.clear();
        match end {
            End::Forgotten => {}
            End::Drained => {
                let pool = self.pool().clone();
                let limit = Duration::from_secs(5);
                let drain = self.runtimes.handle(0);
                let drain = drain.spawn(async move { pool.drain(limit).await });
                self.runtimes.sleep(limit);
                self.rest();
                assert!(drain.is_finished(), "a drain goes on beyond its limit");
            }
            End::Dropped => {
                let _context = self.runtimes.enter(0);
                self.pool = None;
            }
        }
        self.rest();
        {
            let _context = self.runtimes.enter(0);
            for call in &mut self.calls {
                call.cancel();
            }
            self.calls.clear();
            // A clock that ended with its runtime is started by whatever is done next on another.
            self.shared.clock.ensure(&self.shared);
        }
        self.network.lock().held.clear();
        self.runtimes.sleep(LONG);
        self.check_end();
    }
}
