//! Connections leave addresses that left the DNS answer.
//!
//! Names are looked up by dials, and connections that are kept open need none: for as long as a
//! name has connections, a task keeps its answer fresh. An address that is missing from two answers
//! is gone. The first answer without it is asked again after [`DOUBT`], so that an answer that shrank
//! for a moment moves nothing, and one that stays so moves its traffic soon. Then an eighth of the
//! connections leaves every [`PACE`].

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tollgate_cached_dns::{DnsChange, DnsChanges, DnsHandle};
use tollgate_keep_alive::KeepAlive;

use crate::client::Shared;

/// How often names in use are looked at. The shortest TTL is 1 s, of which the last fifth is for
/// this.
const TICK: Duration = Duration::from_millis(250);
/// After an address is missed for the first time. Traffic is to have moved 2 s after the TTL:
/// this, the tick and eight paces take 1.7 s of them.
const DOUBT: Duration = Duration::from_millis(750);
/// From one group of connections to the next.
const PACE: Duration = Duration::from_millis(100);
/// In as many groups do the connections of a name leave, if there are as many of them.
const GROUPS: usize = 8;
/// For so long after an address is gone is it looked at again: a dial that began before may take
/// the default of `connect_timeout` twice.
const AFTERMATH: Duration = Duration::from_secs(10);
/// Without connections for this long, the task ends; the next request starts another.
const LINGER: Duration = Duration::from_secs(60);

/// Whether a task watches the DNS cache.
///
/// The task is spawned by the first request, as a client may be built outside a runtime, and again
/// by a later one if it has ended. It keeps neither the pool nor the cache alive.
#[derive(Debug, Default)]
pub(crate) struct Retiring {
    watched: Arc<AtomicBool>,
}

impl Shared {
    /// Sees to it that somebody watches. One load when somebody does.
    pub(crate) fn watch(self: &Arc<Self>) {
        if !self.retiring.watched.load(Acquire) {
            self.start_watching();
        }
    }

    #[cold]
    fn start_watching(self: &Arc<Self>) {
        let watched = &self.retiring.watched;
        let Some(dns) = &self.dns else {
            // Nothing to watch, ever.
            watched.store(true, Release);
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !watched.swap(true, AcqRel) {
            let until_dropped = Watching(Arc::clone(watched));
            let client = Arc::downgrade(self);
            drop(runtime.spawn(watch(dns.subscribe(), client, until_dropped)));
        }
    }
}

/// Says that nobody watches any more, whether the task ended or its runtime did.
struct Watching(Arc<AtomicBool>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

async fn watch(mut changes: DnsChanges, client: Weak<Shared>, _watching: Watching) {
    let mut watch = Watch::new(Instant::now());
    loop {
        let changed = timeout_at(watch.next(), changes.recv()).await;
        let Some(client) = client.upgrade() else {
            return;
        };
        let (Some(dns), now) = (&client.dns, Instant::now()) else {
            return;
        };
        match changed {
            Ok(Some(change)) => watch.note(&change, now),
            Ok(None) => return,
            Err(_) => {}
        }
        if !watch.step(&client.pool, dns, now) {
            return;
        }
    }
}

/// What is under way.
struct Watch {
    tick: Instant,
    in_use: Instant,
    /// Names of which an address was missed once, and when they are asked for again.
    doubts: Vec<(Arc<str>, Instant)>,
    leaving: Vec<Leaving>,
}

/// The addresses that a name has lost.
struct Leaving {
    name: Arc<str>,
    addrs: Vec<SocketAddr>,
    /// How many connections leave at a time; 0 before they were counted.
    group: usize,
    next: Instant,
    until: Instant,
}

impl Watch {
    fn new(now: Instant) -> Self {
        Self {
            tick: now + TICK,
            in_use: now,
            doubts: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// When there is something to do, if nothing happens before.
    fn next(&self) -> Instant {
        let doubts = self.doubts.iter().map(|(_, at)| *at);
        let leaving = self.leaving.iter().map(|leaving| leaving.next);
        doubts.chain(leaving).fold(self.tick, Instant::min)
    }

    fn note(&mut self, change: &DnsChange, now: Instant) {
        let is_doubted = change
            .removed
            .iter()
            .any(|addr| !change.gone.contains(addr));
        if is_doubted && !self.doubts.iter().any(|(name, _)| *name == change.name) {
            self.doubts.push((Arc::clone(&change.name), now + DOUBT));
        }
        if change.gone.is_empty() {
            return;
        }
        let known = self.leaving.iter().position(|l| l.name == change.name);
        let mut leaving = match known {
            Some(known) => self.leaving.swap_remove(known),
            None => Leaving::new(Arc::clone(&change.name), now),
        };
        leaving.addrs.extend_from_slice(&change.gone);
        leaving.until = now + AFTERMATH;
        // Counted anew, with the pace kept.
        leaving.group = 0;
        self.leaving.push(leaving);
    }

    /// Does what is due. Whether there is any use in going on.
    fn step(&mut self, pool: &KeepAlive, dns: &DnsHandle, now: Instant) -> bool {
        self.doubts.retain(|(name, at)| {
            let is_due = *at <= now;
            // If it is being asked for already, that is as good.
            let _started = is_due && dns.refresh(name);
            !is_due
        });
        self.leaving.retain_mut(|leaving| leaving.step(pool, dns, now));
        if self.tick <= now {
            self.tick = now + TICK;
            if keep_fresh(pool, dns) {
                self.in_use = now;
            }
        }
        now.saturating_duration_since(self.in_use) < LINGER || !self.leaving.is_empty()
    }
}

impl Leaving {
    fn new(name: Arc<str>, now: Instant) -> Self {
        Self {
            name,
            addrs: Vec::new(),
            group: 0,
            next: now,
            until: now,
        }
    }

    /// Retires a group. Whether to go on.
    fn step(&mut self, pool: &KeepAlive, dns: &DnsHandle, now: Instant) -> bool {
        if now < self.next {
            return true;
        }
        let has = dns.addrs(&self.name);
        self.addrs.retain(|addr| !has.contains(addr));
        self.next = now + PACE;
        if has.is_empty() {
            // There is nowhere to go: what works is better than nothing.
            return now < self.until;
        }
        let host = self.name.as_ref();
        if self.group == 0 {
            let all = pool.retire_some(host, &self.addrs, 0);
            self.group = all.div_ceil(GROUPS);
        }
        let left = pool.retire_some(host, &self.addrs, self.group.max(1));
        if left == 0 {
            self.next = now + TICK;
        }
        !self.addrs.is_empty() && (left > 0 || now < self.until)
    }
}

/// Keeps the names fresh that have connections. Whether there are any.
fn keep_fresh(pool: &KeepAlive, dns: &DnsHandle) -> bool {
    let mut any = false;
    for origin in pool.snapshot().origins {
        if origin.open + origin.connecting > 0 {
            any = true;
            dns.keep_fresh(origin.origin.host());
        }
    }
    any
}
