//! Retires connections to addresses that are no longer in the DNS answer.
//!
//! Names are looked up by dials, and connections that are kept open need none: for as long as a
//! name has connections, a task keeps its answer fresh. An address that is missing from two answers
//! is gone. The first answer without it is checked after 750 ms, so that an answer that shrank
//! for a moment moves nothing, and one that stays so moves its traffic soon. Then an eighth of the
//! connections is retired every 100 ms.
//!
//! Some servers show a few of many addresses at a time. If the answer that an address is missing from
//! for the second time has new ones too, it may be such a sample: then one connection is retired every
//! second, and the pool is not turned over with every answer.

mod in_use;
mod leaving;
mod pools;

use std::future::{Future, pending, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tollgate_cached_dns::{DnsChange, DnsChanges, DnsHandle};

use crate::client::Shared;
use crate::task_flag::Raised;
use in_use::InUse;
use leaving::{Leaving, Recheck};
use pools::{Hosts, Pools};

/// The interval at which a name whose connections have left is checked.
const TICK: Duration = Duration::from_millis(250);
/// Without connections for this long, the task ends; the next request starts another.
const LINGER: Duration = Duration::from_secs(60);

impl Shared {
    /// Sees to it that a task watches the DNS cache. One load when one does.
    ///
    /// The task is spawned by the first request, as a client may be built outside a runtime, and again
    /// by a later one if it has ended. It keeps neither the pool nor the cache alive.
    pub(crate) fn watch(self: &Arc<Self>) {
        if !self.dns_watched.is_up() {
            self.start_watching();
        }
    }

    #[cold]
    fn start_watching(self: &Arc<Self>) {
        let Some(dns) = &self.dns else {
            self.dns_watched.raise_for_good();
            return;
        };
        // Before the flag is raised: without a task none would lower it.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if let Some(up) = self.dns_watched.raise() {
            let client = Arc::downgrade(self);
            let hosts = Pools::of(self).hosts_in_use();
            // Subscribed here, not in the task: a change before its first poll is not missed.
            drop(runtime.spawn(watch(dns.subscribe(), hosts, client, up)));
        }
    }
}

async fn watch(mut changes: DnsChanges, hosts: Hosts, client: Weak<Shared>, _up: Raised) {
    let mut watch = Watch::new(Instant::now());
    loop {
        let news = watch.news(&mut changes, &hosts).await;
        // From one wait to the next alone: the task keeps no client alive.
        let Some(client) = client.upgrade() else {
            return;
        };
        let (Some(dns), now) = (&client.dns, Instant::now()) else {
            return;
        };
        match news {
            News::Changed(change) => watch.note(&change, now),
            News::Met(name) => watch.in_use.met(name, now),
            News::Due => {}
            News::Over => return,
        }
        if !watch.step(Pools::of(&client), &hosts, dns, now) {
            return;
        }
    }
}

/// The reason for which the task was woken.
enum News {
    Changed(DnsChange),
    Met(Arc<str>),
    Due,
    Over,
}

/// The changes under way.
struct Watch {
    in_use: InUse,
    /// The time at which the last name went out of use.
    unused_since: Option<Instant>,
    rechecks: Vec<Recheck>,
    leaving: Vec<Leaving>,
}

impl Watch {
    fn new(now: Instant) -> Self {
        Self {
            in_use: InUse::default(),
            unused_since: Some(now),
            rechecks: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// Returns the time of the next step, unless a change comes before.
    fn next(&self) -> Option<Instant> {
        let rechecks = self.rechecks.iter().map(|recheck| recheck.next);
        let leaving = self.leaving.iter().map(|leaving| leaving.next);
        let end = self.unused_since.map(|since| since + LINGER);
        let all = rechecks.chain(leaving).chain(end).chain(self.in_use.next());
        all.min()
    }

    /// Waits for a change of an answer, a name that comes into use, or what is due.
    async fn news(&self, changes: &mut DnsChanges, hosts: &Hosts) -> News {
        let due = async {
            match self.next() {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        let (mut change, mut due) = (pin!(changes.recv()), pin!(due));
        let (mut name, mut lasting) = (pin!(hosts.calls.next()), pin!(hosts.next_long_lived()));
        poll_fn(|cx| {
            if let Poll::Ready(change) = change.as_mut().poll(cx) {
                return Poll::Ready(change.map_or(News::Over, News::Changed));
            }
            if let Poll::Ready(name) = name.as_mut().poll(cx) {
                return Poll::Ready(name.map_or(News::Over, News::Met));
            }
            if let Poll::Ready(name) = lasting.as_mut().poll(cx) {
                return Poll::Ready(name.map_or(News::Over, News::Met));
            }
            due.as_mut().poll(cx).map(|()| News::Due)
        })
        .await
    }

    fn note(&mut self, change: &DnsChange, now: Instant) {
        let is_in = |list: &[SocketAddr], addr| list.contains(addr);
        // Missed for the first time: what is gone as well needs no second look.
        if change.removed.iter().any(|addr| !is_in(&change.gone, addr)) {
            self.recheck(&change.name, now);
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

    fn recheck(&mut self, name: &Arc<str>, now: Instant) {
        if !self.rechecks.iter().any(|recheck| recheck.name == *name) {
            self.rechecks.push(Recheck::new(Arc::clone(name), now));
        }
    }

    /// Does what is due. Whether there is any use in going on.
    fn step(&mut self, pools: Pools<'_>, hosts: &Hosts, dns: &DnsHandle, now: Instant) -> bool {
        self.rechecks.retain_mut(|recheck| recheck.step(dns, now));
        self.leaving
            .retain_mut(|leaving| leaving.step(pools, dns, now));
        self.in_use.step(hosts, dns, now);
        self.unused_since = if self.in_use.is_empty() {
            Some(self.unused_since.unwrap_or(now))
        } else {
            None
        };
        let lingers = |since: Instant| now.saturating_duration_since(since) < LINGER;
        // Not while connections are on their way out, a group at a time.
        self.unused_since.is_none_or(lingers) || !self.leaving.is_empty()
    }
}
