//! What a pool needs around it.

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::task::{Poll, Waker};

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;
use tollgate_admission::{
    Admission, Demand, Locked, Pool, PoolConfig, ResourceId, Returned, Ticket,
};
use tollgate_core::CloseReason;

/// A connection pool whose owner opens at once and closes at once.
pub(crate) struct Owner {
    pub(crate) pool: Locked<Pool<()>>,
    pub(crate) now: Instant,
    pub(crate) sockets: AtomicUsize,
    pub(crate) most: AtomicUsize,
}

impl Owner {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let max = NonZeroUsize::new(max).expect("at least one");
        Arc::new(Self {
            pool: Locked::new(Pool::new(PoolConfig::new().max_connections_per_origin(max))),
            now: Instant::now(),
            sockets: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Pool<()>) -> R) -> R {
        let (result, effects) = self.pool.with(f);
        if let Some(effects) = effects {
            effects.run(|resource, reason| self.gone(resource, reason));
        }
        result
    }

    /// The socket is closed, by whoever comes first: it is gone before its place is free.
    pub(crate) fn gone(&self, resource: ResourceId, reason: CloseReason) {
        self.with(|pool| {
            if pool.resource(resource).is_some() {
                self.sockets.fetch_sub(1, Ordering::SeqCst);
                pool.resource_gone(resource, self.now, reason);
            }
        });
        self.open_what_is_wanted();
    }

    pub(crate) fn open_what_is_wanted(&self) {
        while self.with(|pool| pool.start_open(self.now)) {
            let sockets = self.sockets.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(sockets, Ordering::SeqCst);
            self.with(|pool| pool.opened(self.now, NonZeroUsize::MIN));
        }
    }

    pub(crate) fn ask(&self) -> Result<ResourceId, Ticket> {
        match self.with(|pool| pool.demand(self.now, Demand::new())) {
            Admission::Granted(grant) => Ok(grant.resource),
            Admission::Queued(ticket) => Err(ticket),
            Admission::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    pub(crate) fn poll(&self, ticket: Ticket, waker: &Waker) -> Poll<Option<ResourceId>> {
        let polled = self.with(|pool| pool.poll(ticket, self.now, waker));
        if polled.is_pending() {
            // Its connection may have been lost, and it may want another.
            self.open_what_is_wanted();
        }
        polled.map(|result| result.ok().map(|grant| grant.resource))
    }

    /// A lease, or `None` if it was refused.
    pub(crate) fn wait(&self, ticket: Ticket) -> Option<ResourceId> {
        block_on(poll_fn(|cx| self.poll(ticket, cx.waker())))
    }

    pub(crate) fn lease(&self) -> ResourceId {
        match self.ask() {
            Ok(resource) => resource,
            Err(ticket) => {
                self.open_what_is_wanted();
                self.wait(ticket).expect("it was opened")
            }
        }
    }

    pub(crate) fn give_back(&self, resource: ResourceId, returned: Returned) {
        self.with(|pool| pool.lease_returned(resource, self.now, returned));
    }
}
