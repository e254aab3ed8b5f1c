//! The calls of the reference, each at its stage, and what becomes of the exchange of one that leaves.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{Grant, ResourceId, Returned, Ticket};
use tollgate_core::CloseReason;

use super::super::peer::Kind;
use super::{Happening, Reference};

pub(super) struct Call {
    pub(super) origin: usize,
    pub(super) kind: Kind,
    pub(super) polled: bool,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy)]
pub(super) enum Stage {
    Waits(Ticket),
    Exchange(Exchange),
    /// It was refused when it was made, and has yet to hear of it.
    Refused,
}

#[derive(Clone, Copy)]
pub(super) struct Exchange {
    resource: ResourceId,
    granted_at: Instant,
    /// The wait for capacity.
    waited: Duration,
    /// The peer has gone on with what it held.
    released: bool,
    /// The caller reads the body.
    reads: bool,
}

/// An answer that is taken in for a caller that has left, until then.
#[derive(Clone, Copy)]
pub(super) struct TakenIn {
    pub(super) call: usize,
    pub(super) until: Instant,
    origin: usize,
    kind: Kind,
    resource: ResourceId,
}

impl Exchange {
    pub(super) const fn new(grant: &Grant, granted_at: Instant) -> Self {
        Self {
            resource: grant.resource,
            granted_at,
            waited: grant.waited.saturating_sub(grant.opening),
            released: false,
            reads: false,
        }
    }
}

impl Call {
    /// Returns true if the whole answer has come.
    fn is_answered(&self, exchange: &Exchange) -> bool {
        matches!(self.kind, Kind::Ok | Kind::Last) || exchange.released
    }

    /// Returns true if the caller has the head.
    pub(super) fn has_head(&self) -> bool {
        match &self.stage {
            Stage::Exchange(exchange) => {
                self.polled && (self.kind == Kind::Half || self.is_answered(exchange))
            }
            _ => false,
        }
    }

    /// The connection is of no further use once the exchange is over.
    const fn is_last(&self) -> bool {
        matches!(self.kind, Kind::Last)
    }
}

const fn retire(reason: CloseReason) -> Returned {
    Returned::Retire(reason)
}

impl Reference {
    pub(super) fn read(&mut self, number: usize) {
        if let Some(call) = self.calls.get_mut(&number)
            && call.has_head()
            && let Stage::Exchange(exchange) = &mut call.stage
        {
            exchange.reads = true;
            self.goes_on(number);
        }
    }

    /// The peer goes on with the exchange of this call.
    pub(super) fn release(&mut self, number: usize) {
        if let Some(call) = self.calls.get_mut(&number)
            && let Stage::Exchange(exchange) = &mut call.stage
        {
            exchange.released = true;
            return self.goes_on(number);
        }
        let taken_in = self.taken_in.iter().position(|one| one.call == number);
        if let Some(at) = taken_in {
            let TakenIn {
                origin, resource, ..
            } = self.taken_in.swap_remove(at);
            let back = Happening::Returned(origin, resource, Returned::reusable());
            self.happens.push_back(back);
        }
    }

    /// Ends an exchange whose body is read and whole.
    fn goes_on(&mut self, number: usize) {
        let call = &self.calls[&number];
        let Stage::Exchange(exchange) = call.stage else {
            return;
        };
        if exchange.reads && call.is_answered(&exchange) {
            let (of, is_last) = (call.origin, call.is_last());
            let (now, resource) = (self.now, exchange.resource);
            self.calls.remove(&number);
            self.engine(of).used(now, now - exchange.granted_at);
            let returned = if is_last {
                retire(CloseReason::PeerClose)
            } else {
                Returned::reusable()
            };
            self.returned(of, resource, returned);
        }
    }

    /// The caller leaves.
    pub(super) fn drop(&mut self, number: usize) {
        let Some(call) = self.calls.remove(&number) else {
            return;
        };
        let (of, now) = (call.origin, self.now);
        match call.stage {
            Stage::Refused => {}
            Stage::Waits(ticket) => {
                self.engine(of).cancel(ticket, now);
                self.settle(of);
            }
            Stage::Exchange(exchange) if call.has_head() => self.drop_body(&call, &exchange),
            Stage::Exchange(exchange) => self.drop_unanswered(number, &call, &exchange),
        }
    }

    /// What is at hand of a body is taken in; one that is not whole closes its connection.
    fn drop_body(&mut self, call: &Call, exchange: &Exchange) {
        let (of, now, resource) = (call.origin, self.now, exchange.resource);
        if self.is_http2(of, resource) {
            return self.returned(of, resource, Returned::reusable());
        }
        if call.is_last() {
            return self.returned(of, resource, retire(CloseReason::PeerClose));
        }
        let returned = if call.is_answered(exchange) {
            Returned::reusable()
        } else {
            retire(CloseReason::BodyDropped)
        };
        self.engine(of).lease_ending(resource, now);
        self.settle(of);
        // By the driver of the connection.
        let back = Happening::Returned(of, resource, returned);
        self.happens.push_back(back);
    }

    /// An answer that is due soon is taken in; else the connection is closed.
    fn drop_unanswered(&mut self, number: usize, call: &Call, exchange: &Exchange) {
        let (of, now, resource) = (call.origin, self.now, exchange.resource);
        let held = now - exchange.granted_at;
        let engine = self.engine(of);
        engine.abandoned(now, exchange.waited, held);
        let due = engine.due_within(now, held);
        self.settle(of);
        let Some(due) = due else {
            return self.returned(of, resource, retire(CloseReason::Cancelled));
        };
        let returned = if call.is_last() {
            retire(CloseReason::PeerClose)
        } else if call.is_answered(exchange) {
            Returned::reusable()
        } else {
            self.taken_in.push(TakenIn {
                call: number,
                until: now + due,
                origin: of,
                kind: call.kind,
                resource,
            });
            return;
        };
        let back = Happening::Returned(of, resource, returned);
        self.happens.push_back(back);
    }

    /// Ends the exchanges whose answers have not come in time.
    pub(super) fn give_up_taking_in(&mut self) {
        let now = self.now;
        while let Some(at) = self.taken_in.iter().position(|one| one.until <= now) {
            let late = self.taken_in.swap_remove(at);
            let reason = if late.kind == Kind::Half {
                CloseReason::BodyDropped
            } else {
                CloseReason::Cancelled
            };
            self.returned(late.origin, late.resource, retire(reason));
        }
    }

    /// Takes a lease back.
    pub(super) fn returned(&mut self, of: usize, resource: ResourceId, returned: Returned) {
        let now = self.now;
        let engine = self.pools[of].as_mut().unwrap();
        let gives_way = |places: &super::Places| places.gives_way(of, engine, now);
        let lives = engine.resource(resource).is_some();
        let returned = if lives && self.places.as_ref().is_some_and(gives_way) {
            retire(CloseReason::Reclaimed)
        } else {
            returned
        };
        engine.lease_returned(resource, now, returned);
        self.settle(of);
    }
}
