//! The engine with an owner that is perfect: nothing runs beside it, nothing is late, and the peers are a
//! line each. The real owner is to do the same with the same steps, to the last counter.

mod calls;
mod course;
mod places;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{Admission, Demand, Grant, Pool, PoolConfig, ResourceId, Returned};
use tollgate_core::CloseReason;

use self::calls::{Call, Exchange, Stage, TakenIn};
use self::places::Places;
use super::network::{Dial, Speaks};
use super::peer::{Kind, STREAMS};
use super::world::{World, origin, pick};
use super::{ORIGINS, Step};
use crate::options::config::Config;

pub(super) struct Reference {
    start: Instant,
    now: Instant,
    pools: [Option<Pool<()>>; ORIGINS],
    caps: [usize; ORIGINS],
    /// The origins in the order in which they were met.
    met: Vec<usize>,
    places: Option<Places>,
    calls: BTreeMap<usize, Call>,
    made: usize,
    connections: Vec<Connection>,
    plans: VecDeque<Dial>,
    connect_timeout: Duration,
    /// Those that a step decides, until their time is over: `None` from then on.
    held_dials: Vec<(Instant, Option<usize>)>,
    /// The dials that have no end but that of their time.
    hanging: Vec<(Instant, usize)>,
    taken_in: Vec<TakenIn>,
    /// The next connections speak HTTP/2.
    http2: bool,
    /// The calls that were granted a connection, and when: those of one moment reach their peers in any
    /// order.
    granted: BTreeMap<usize, Instant>,
    follows: VecDeque<Follows>,
    happens: VecDeque<Happening>,
    woken: Arc<Mutex<Vec<usize>>>,
    slept_long: bool,
    /// A connection closes for another origin while a dial ends or another closes. What comes of it, all in
    /// one moment, is up to whose turn comes first.
    pub(super) is_undecided: bool,
}

/// A connection that was made: the pool numbers them from 1.
struct Connection {
    origin: usize,
    resource: ResourceId,
    http2: bool,
}

#[derive(Clone, Copy)]
enum Outcome {
    Connects,
    Fails,
    NoPort,
}

/// What follows from a change to an engine, before anything else happens.
enum Follows {
    /// A place was passed on to this origin.
    Place(usize),
    /// More wait for a place than are on their way.
    Reclaim,
}

enum Happening {
    Poll(usize),
    Dial(usize),
    Dialled(usize, Outcome),
    /// HTTP/2 begins on a connection: it is open when both sides have had so many turns.
    Begins(usize, usize),
    Returned(usize, ResourceId, Returned),
    Gone(usize, ResourceId, CloseReason),
}

impl Reference {
    pub(super) fn new(world: &World) -> Self {
        let (setup, now) = (world.setup, world.runtimes.now());
        let config = &world.shared.config;
        Self {
            connect_timeout: config.connect_timeout(&origin(0)).0,
            start: now,
            now,
            pools: [const { None }; ORIGINS],
            caps: [setup.cap; ORIGINS],
            met: Vec::new(),
            places: setup
                .total
                .map(|total| Places::new(NonZeroUsize::new(total).unwrap(), now)),
            calls: BTreeMap::new(),
            made: 0,
            connections: Vec::new(),
            plans: VecDeque::new(),
            held_dials: Vec::new(),
            hanging: Vec::new(),
            taken_in: Vec::new(),
            http2: setup.speaks == Speaks::Http2,
            granted: BTreeMap::new(),
            follows: VecDeque::new(),
            happens: VecDeque::new(),
            woken: Arc::default(),
            slept_long: false,
            is_undecided: false,
        }
    }

    fn engine(&mut self, of: usize) -> &mut Pool<()> {
        self.pools[of].as_mut().unwrap()
    }

    fn is_http2(&self, of: usize, resource: ResourceId) -> bool {
        let mut all = self.connections.iter();
        all.any(|one| (one.origin, one.resource) == (of, resource) && one.http2)
    }

    /// Returns true if a step is one of those whose course is the owner's alone to decide: no exchange
    /// breaks, and nothing waits so long that a timeout of the owner's own would strike.
    pub(super) fn takes(&mut self, step: Step, world: &World) -> bool {
        match step {
            Step::Call { kind, .. } => match kind {
                Kind::Ok | Kind::Held | Kind::Half => true,
                Kind::Last => world.setup.speaks == Speaks::Http1,
                Kind::Lost => false,
            },
            // A stream that is given up without an answer makes the pool ask after its connection.
            Step::Drop(number) => self.call_at(number).is_none_or(|call| {
                let call = &self.calls[&call];
                let is_open = matches!(call.stage, Stage::Exchange(_));
                world.setup.speaks == Speaks::Http1 || !is_open || call.has_head()
            }),
            Step::PeerCloses(number) => self.closes(number, world).is_some(),
            Step::RuntimeEnds(_) => false,
            Step::Sleep { millis: 0..=200 } => true,
            Step::Sleep { millis } => {
                let waits = |call: &Call| matches!(call.stage, Stage::Waits(_));
                let rests = !self.calls.values().any(waits);
                let takes = millis <= 31_000 && rests && !self.slept_long;
                self.slept_long |= takes;
                takes
            }
            _ => true,
        }
    }

    fn call_at(&self, number: usize) -> Option<usize> {
        pick(self.calls.keys().copied(), number)
    }

    /// The idle connection that its peer closes.
    fn closes(&self, number: usize, world: &World) -> Option<(usize, ResourceId)> {
        let made = world.network.lock().closers.len();
        let one = self.connections.get(number % made.max(1))?;
        let engine = self.pools[one.origin].as_ref()?;
        let idles = engine.resource(one.resource)?.idle_since.is_some();
        (idles && !one.http2).then_some((one.origin, one.resource))
    }

    /// Does the step that the world is about to do.
    pub(super) fn step(&mut self, step: Step, world: &World) {
        match step {
            Step::Call {
                origin,
                kind,
                starts,
                ..
            } => self.call(world, origin, kind, starts),
            Step::Start { call, .. } => {
                let made = self.calls.iter().filter(|(_, call)| !call.polled);
                let made: Vec<_> = made.map(|(number, _)| *number).collect();
                if let Some(number) = pick(made.into_iter(), call) {
                    self.start(number);
                }
            }
            Step::Drop(number) => {
                if let Some(number) = self.call_at(number) {
                    self.drop(number);
                }
            }
            Step::Read(number) => {
                if let Some(number) = self.call_at(number) {
                    self.read(number);
                }
            }
            Step::Release(number) => {
                let held = world
                    .network
                    .lock()
                    .held
                    .keys()
                    .copied()
                    .collect::<Vec<_>>();
                if let Some(number) = pick(held.into_iter(), number) {
                    self.release(number);
                }
            }
            Step::Plan(dial) => self.plans.push_back(dial),
            Step::Speak { http2 } => self.http2 = world.network.lock().may_speak(http2),
            Step::Decide { dial, connects } if !self.held_dials.is_empty() => {
                let (_, of) = self.held_dials.remove(dial % self.held_dials.len());
                let outcome = if connects {
                    Outcome::Connects
                } else {
                    Outcome::Fails
                };
                let dialled = of.map(|of| Happening::Dialled(of, outcome));
                self.happens.extend(dialled);
            }
            Step::PeerCloses(number) => {
                if let Some((of, resource)) = self.closes(number, world) {
                    let gone = Happening::Gone(of, resource, CloseReason::PeerEof);
                    self.happens.push_back(gone);
                }
            }
            _ => self.administer(step, world),
        }
        self.run();
    }

    fn administer(&mut self, step: Step, world: &World) {
        let now = self.now;
        match step {
            Step::CloseIdle => {
                for of in 0..ORIGINS {
                    if let Some(pool) = &mut self.pools[of] {
                        pool.retire_idle_until(now, CloseReason::Shutdown);
                        self.settle(of);
                    }
                }
            }
            Step::Retire { origin: of, odd } => {
                let Some(pool) = &mut self.pools[of] else {
                    return;
                };
                for (at, one) in self.connections.iter().enumerate() {
                    if one.origin == of && ((at + 1) % 2 == 1) == odd {
                        pool.retire(one.resource, CloseReason::AddressGone);
                    }
                }
                self.settle(of);
            }
            Step::Cap { origin: of, cap } => {
                self.caps[of] = cap;
                let config = engine_config(&world.shared.config, of, cap, self.http2);
                let pool = self.pool(world, of);
                if pool.limit() != cap {
                    pool.reconfigure(now, config);
                }
                self.settle(of);
            }
            Step::Warm { origin: of, n } => {
                self.pool(world, of).warm(n);
                self.settle(of);
            }
            _ => {}
        }
    }

    fn pool(&mut self, world: &World, of: usize) -> &mut Pool<()> {
        let (config, now) = (&world.shared.config, self.now);
        let engine = engine_config(config, of, self.caps[of], self.http2);
        self.pools[of].get_or_insert_with(|| {
            self.met.push(of);
            let mut pool = Pool::new(engine);
            if config.protocol.may_be_http2(&origin(of)) {
                pool.expect_leases(now, NonZeroUsize::MAX);
            }
            pool
        })
    }

    fn call(&mut self, world: &World, of: usize, kind: Kind, starts: bool) {
        let (number, now) = (self.made, self.now);
        self.made += 1;
        let demand = Demand::new().opens_when_polled(true);
        let admission = self.pool(world, of).demand(now, demand);
        let stage = match admission {
            // Sent at once, polled or not.
            Admission::Granted(grant) => self.granted(number, &grant),
            Admission::Queued(ticket) => Stage::Waits(ticket),
            Admission::Refused(_) => Stage::Refused,
        };
        let call = Call {
            origin: of,
            kind,
            polled: false,
            stage,
        };
        self.calls.insert(number, call);
        self.settle(of);
        if starts {
            self.start(number);
        }
    }

    fn granted(&mut self, number: usize, grant: &Grant) -> Stage {
        self.granted.insert(number, self.now);
        Stage::Exchange(Exchange::new(grant, self.now))
    }

    fn start(&mut self, number: usize) {
        let call = self.calls.get_mut(&number).unwrap();
        call.polled = true;
        if matches!(call.stage, Stage::Refused) {
            self.calls.remove(&number);
        } else {
            self.happens.push_back(Happening::Poll(number));
        }
    }

    /// The same grants in the same order, the same refusals, as many opens, and the same of all else that
    /// the engine counts.
    pub(super) fn check(&self, world: &World) {
        let at_peers = world.network.lock().arrived.clone();
        for of in 0..ORIGINS {
            let here = |call: &&usize| world.origin_of[**call] == of;
            let real: Vec<_> = at_peers.iter().filter(here).collect();
            let ideal = self.granted.keys().filter(here).count();
            assert_eq!(
                real.len(),
                ideal,
                "the calls of {of} that reached their peer"
            );
            let granted = |call: &&usize| self.granted.get(*call);
            assert!(
                real.iter().all(|call| granted(call).is_some()) && real.is_sorted_by_key(granted),
                "the order of {of}: {real:?}, {:?}",
                self.granted
            );
        }
        for pool in world.pool().all_origins() {
            let of = (0..ORIGINS).find(|of| pool.origin == origin(*of)).unwrap();
            let real = pool.lock().engine.stats();
            let ideal = self.pools[of].as_ref().unwrap().stats();
            let (real, ideal) = (format!("{real:#?}"), format!("{ideal:#?}"));
            let lines = real.lines().zip(ideal.lines());
            let differing: Vec<_> = lines.filter(|(real, ideal)| real != ideal).collect();
            assert!(differing.is_empty(), "{of}, real and ideal: {differing:?}");
        }
    }
}

/// The configuration of an origin's engine, seeded as the pool's own tests are.
fn engine_config(config: &Config, of: usize, cap: usize, http2: bool) -> PoolConfig {
    let cap = config.cap(NonZeroUsize::new(cap).unwrap(), http2);
    config.engine(&origin(of), cap).seed(0)
}
