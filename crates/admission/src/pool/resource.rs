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
    /// Whether it had served before.
    pub reused: bool,
    /// How long the request waited; zero if it did not.
    pub waited: Duration,
    /// How many were before it when it came.
    pub ahead: usize,
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are only these three ways")]
pub enum Returned {
    /// The exchange is complete and the connection can serve another.
    Reusable {
        /// How long the peer lets it be idle, if it said so: it can only shorten the idle timeout,
        /// and only this once.
        idle_for: Option<Duration>,
        /// How many more requests the peer allows, if it said so.
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

/// What a pool knows about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceInfo {
    /// Its name.
    pub id: ResourceId,
    /// What is going on with it.
    pub state: ResourceState,
    /// When it was opened.
    pub created: Instant,
    /// Since when it has had no lease; `None` while it has one.
    pub idle_since: Option<Instant>,
    /// How many leases were given on it.
    pub served: u64,
    /// How many leases are out.
    pub leases: usize,
    /// How many it offers at once.
    pub capacity: usize,
}

/// What is going on with a connection.
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

/// What is left of a connection when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gone {
    /// Why it was closed: the pool's own reason if it had one.
    pub reason: CloseReason,
    /// How long it has lived.
    pub age: Duration,
    /// How many leases were given on it.
    pub served: u64,
}

#[derive(Debug)]
pub(crate) struct Resource {
    links: Links,
    pub(crate) state: ResourceState,
    /// It offers, or may come to offer, more than one lease.
    pub(crate) shared: bool,
    /// It drains, or closes after having drained, beside its replacement.
    pub(crate) beside: bool,
    pub(crate) created: Instant,
    pub(crate) expires: Option<Instant>,
    pub(crate) idle_since: Instant,
    /// Until when it may be idle, or live: whichever ends first.
    pub(crate) idle_until: Option<Instant>,
    pub(crate) leases: usize,
    pub(crate) capacity: usize,
    pub(crate) served: u64,
    pub(crate) max_served: u64,
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
            created: now,
            expires,
            idle_since: now,
            idle_until: None,
            leases: 0,
            capacity,
            served: 0,
            max_served: max_requests.map_or(u64::MAX, NonZeroU64::get),
        }
    }

    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, ResourceState::Live)
    }

    /// Whether it can take one more lease, its age aside.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.is_live() && self.leases < self.capacity && self.served < self.max_served
    }

    /// Why it must not be handed out any more, if so. Its idle time counts only if it was idle.
    #[inline]
    pub(crate) fn outlived(&self, now: Instant, was_idle: bool) -> Option<CloseReason> {
        if self.expires.is_some_and(|at| at <= now) {
            Some(CloseReason::MaxAge)
        } else if was_idle && self.idle_until.is_some_and(|at| at <= now) {
            Some(CloseReason::Idle)
        } else {
            None
        }
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
