//! One connection, as the pool knows it.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::CloseReason;

use crate::list::{Linked, Links};
use crate::slab::Key;

/// Names one connection of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceId(pub(crate) Key);

/// A lease on a connection, to be ended with one
/// [`Pool::lease_returned`](crate::Pool::lease_returned).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The connection.
    pub resource: ResourceId,
    /// True if it had served before.
    pub reused: bool,
    /// The time that the request waited; zero if it did not.
    pub waited: Duration,
    /// The part of it in which an open of its own was in progress; for the rest it waited for
    /// capacity.
    pub opening: Duration,
    /// The number that were before it when it came.
    pub ahead: usize,
}

/// The end of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are only these three ways")]
pub enum Returned {
    /// The exchange is complete and the connection can serve another.
    Reusable {
        /// The time that the peer lets it be idle, if it said so: it can only shorten the idle
        /// timeout, and only this once.
        idle_for: Option<Duration>,
        /// The number of more requests that the peer allows, if it said so.
        remaining_uses: Option<u64>,
    },
    /// The lease was never used: neither its number of requests nor its idle time changes.
    Unused,
    /// The connection must not be used again.
    Retire(CloseReason),
}

impl Returned {
    /// The exchange is complete, and the peer said nothing about the connection.
    pub const fn reusable() -> Self {
        Self::Reusable {
            idle_for: None,
            remaining_uses: None,
        }
    }
}

/// The state of a connection in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceInfo {
    /// Its name.
    pub id: ResourceId,
    /// Its state.
    pub state: ResourceState,
    /// The time at which it was opened.
    pub created: Instant,
    /// The time since which it has had no lease; `None` while it has one.
    pub idle_since: Option<Instant>,
    /// The number of leases that were given on it.
    pub served: u64,
    /// The number of leases that are out.
    pub leases: usize,
    /// The leases it offers at once.
    pub capacity: usize,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the three phases of a connection")]
pub enum ResourceState {
    /// It takes leases.
    Live,
    /// It takes no more leases and is closed when the last one ends.
    Retiring(CloseReason),
    /// It is to be closed; its place is taken until it is gone.
    Closing(CloseReason),
}

/// The summary of a connection that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gone {
    /// Why it was closed: the pool's own reason if it had one.
    pub reason: CloseReason,
    /// The time that it has lived.
    pub age: Duration,
    /// The number of leases that were given on it.
    pub served: u64,
}

/// True if a connection takes no more leases and finishes those it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drain {
    No,
    Untimed,
    /// It has to be through with that at `idle_until`.
    Timed,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not exclude one another"
)]
pub(crate) struct Resource {
    links: Links,
    pub(crate) state: ResourceState,
    /// It offers, or may come to offer, more than one lease.
    pub(crate) shared: bool,
    /// It may have its replacement beside it: it is past its age, drains, or closes after that.
    pub(crate) beside: bool,
    pub(crate) drain: Drain,
    pub(crate) created: Instant,
    pub(crate) expires: Option<Instant>,
    pub(crate) idle_since: Instant,
    /// The time until which it may be idle, or live: whichever ends first.
    pub(crate) idle_until: Option<Instant>,
    pub(crate) leases: usize,
    pub(crate) capacity: usize,
    pub(crate) served: u64,
    pub(crate) max_served: u64,
    /// An exchange on it has come to its end.
    pub(crate) proved: bool,
    /// Its one lease is about to come back.
    pub(crate) ending: bool,
}

impl Resource {
    pub(crate) fn new(
        now: Instant,
        capacity: usize,
        expires: Option<Instant>,
        max_requests: Option<NonZeroU64>,
    ) -> Self {
        Self {
            links: Links::new(),
            state: ResourceState::Live,
            shared: capacity > 1,
            beside: false,
            drain: Drain::No,
            created: now,
            expires,
            idle_since: now,
            idle_until: None,
            leases: 0,
            capacity,
            served: 0,
            proved: false,
            ending: false,
            max_served: max_requests.map_or(u64::MAX, NonZeroU64::get),
        }
    }

    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, ResourceState::Live)
    }

    /// Returns true if it is of many leases and closes for another origin when the last one ends.
    pub(crate) fn gives_way(&self) -> bool {
        self.shared && self.state == ResourceState::Retiring(CloseReason::Reclaimed)
    }

    /// Returns true if it takes no more leases and finishes those it has.
    #[inline]
    pub(crate) fn drains(&self) -> bool {
        self.drain != Drain::No
    }

    /// Returns true if it can take one more lease, its age aside.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.is_live() && self.leases < self.capacity && self.served < self.max_served
    }

    /// Why it must not be handed out any more, if so. Its idle time counts only if it was idle.
    #[inline]
    pub(crate) fn outlived(&self, now: Instant, was_idle: bool) -> Option<CloseReason> {
        // The age first: `idle_until` is the earlier of both, and would call a lifetime's end
        // idleness.
        if self.expires.is_some_and(|at| at <= now) {
            Some(CloseReason::MaxAge)
        } else if was_idle && self.idle_until.is_some_and(|at| at <= now) {
            Some(CloseReason::Idle)
        } else {
            None
        }
    }

    /// Returns true if it has lived its time, and would be retired but for the exchanges on it.
    pub(crate) fn is_past_age(&self, now: Instant) -> bool {
        self.leases > 0 && self.expires.is_some_and(|at| at <= now)
    }

    pub(crate) fn info(&self, id: ResourceId) -> ResourceInfo {
        ResourceInfo {
            id,
            state: self.state,
            created: self.created,
            idle_since: (self.leases == 0).then_some(self.idle_since),
            served: self.served,
            leases: self.leases,
            capacity: self.capacity,
        }
    }
}

impl Linked for Resource {
    #[inline]
    fn links(&self) -> Links {
        self.links
    }

    #[inline]
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}
