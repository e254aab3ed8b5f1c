//! Connections leave addresses that left the DNS answer.
//!
//! Names are looked up by dials, and connections that are kept open need none: for as long as a
//! name has connections, a task keeps its answer fresh. An address that is missing from two answers
//! is gone. The first answer without it is checked after 750 ms, so that an answer that shrank
//! for a moment moves nothing, and one that stays so moves its traffic soon. Then an eighth of the
//! connections leaves every 100 ms.
//!
//! Some servers show a few of many addresses at a time. If the answer that an address is missing from
//! for the second time has new ones too, it may be such a sample: then one connection leaves every
//! second, and the pool is not turned over with every answer.

mod leaving;

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
use leaving::{Doubt, Leaving};

/// How often names in use are looked at. The shortest TTL is 1 s, of which the last fifth is for
/// this.
const TICK: Duration = Duration::from_millis(250);
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
        let news = timeout_at(watch.next(), changes.recv()).await;
        let Some(client) = client.upgrade() else {
            return;
        };
        let (Some(dns), now) = (&client.dns, Instant::now()) else {
            return;
        };
        match news {
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
    doubts: Vec<Doubt>,
    leaving: Vec<Leaving>,
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
        let doubts = self.doubts.iter().map(|doubt| doubt.next);
        let leaving = self.leaving.iter().map(|leaving| leaving.next);
        doubts.chain(leaving).fold(self.tick, Instant::min)
    }

    fn note(&mut self, change: &DnsChange, now: Instant) {
        let is_in = |list: &[SocketAddr], addr| list.contains(addr);
        if change.removed.iter().any(|addr| !is_in(&change.gone, addr)) {
            self.doubt(&change.name, now);
        }
        if change.gone.is_empty() {
            return;
        }
        // What was invalidated is removed and gone at once, whatever came instead.
        let was_missed = change.gone.iter().any(|addr| !is_in(&change.removed, addr));
        let known = self.leaving.iter().position(|l| l.name == change.name);
        let mut leaving = match known {
            Some(known) => self.leaving.swap_remove(known),
            None => Leaving::new(Arc::clone(&change.name), now),
        };
        leaving.slow = was_missed && !change.added.is_empty();
        leaving.add(&change.gone, now);
        self.leaving.push(leaving);
    }

    fn doubt(&mut self, name: &Arc<str>, now: Instant) {
        if !self.doubts.iter().any(|doubt| doubt.name == *name) {
            self.doubts.push(Doubt::new(Arc::clone(name), now));
        }
    }

    /// Does what is due. Whether there is any use in going on.
    fn step(&mut self, pool: &KeepAlive, dns: &DnsHandle, now: Instant) -> bool {
        self.doubts.retain_mut(|doubt| doubt.step(dns, now));
        self.leaving
            .retain_mut(|leaving| leaving.step(pool, dns, now));
        if self.tick <= now {
            self.tick = now + TICK;
            if keep_fresh(pool, dns) {
                self.in_use = now;
            }
        }
        now.saturating_duration_since(self.in_use) < LINGER || !self.leaving.is_empty()
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
