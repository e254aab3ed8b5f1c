//! The queue's own consistency, for tests.

use tollgate_core::RefuseReason;

use crate::outcome::Ticket;
use crate::queue::Queue;
use crate::queue::entry::{Clock, State};
use crate::slab::NONE;

/// The state of a ticket, without taking its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Peek<G> {
    Waiting { covered: bool },
    Reserved(G),
    Lapsed,
    Refused(RefuseReason),
}

impl<G: Copy, E> Queue<G, E> {
    pub(crate) fn peek(&self, ticket: Ticket) -> Option<Peek<G>> {
        let entry = self.entries.get(ticket.0)?;
        Some(match &entry.state {
            State::Waiting => Peek::Waiting {
                covered: entry.is_covered(),
            },
            State::Reserved(value, _) => Peek::Reserved(*value),
            State::Lapsed => Peek::Lapsed,
            State::Refused(refusal) => Peek::Refused(refusal.reason),
        })
    }

    /// Those who wait, in their order.
    pub(crate) fn line(&self) -> Vec<Ticket> {
        let mut line = Vec::new();
        let mut at = self.line.head().unwrap_or(NONE);
        while at != NONE {
            line.push(Ticket(self.entries.key(at)));
            at = self.entries.at(at).links.next();
        }
        line
    }

    /// List operations and heap levels walked so far.
    pub(crate) const fn steps(&self) -> u64 {
        self.line.operations + self.deadlines.steps
    }

    pub(crate) fn check(&self) {
        let line = self.line();
        assert_eq!(line.len(), self.len(), "the line is as long as it says");
        let mut before = NONE;
        for (place, ticket) in line.iter().enumerate() {
            let entry = self.entries.at(ticket.0.index);
            assert!(matches!(entry.state, State::Waiting));
            assert_eq!(
                entry.links.prev(),
                before,
                "the line reads the same backwards"
            );
            let still = matches!(entry.clock, Clock::Still(..));
            assert_eq!(still, place < self.covered, "the covered are a prefix");
            before = ticket.0.index;
        }
        assert_eq!(self.line.tail().unwrap_or(NONE), before);
        let unpolled = line.iter().map(|ticket| self.entries.at(ticket.0.index));
        let unpolled = unpolled.filter(|entry| entry.unpolled).count();
        assert_eq!(unpolled, self.unpolled);
        let returned: Vec<_> = line
            .iter()
            .map(|ticket| self.entries.at(ticket.0.index))
            .take_while(|entry| entry.retry)
            .map(|entry| entry.arrived)
            .collect();
        assert!(returned.is_sorted(), "those at the head are in order");
        assert_eq!(returned.len(), self.returned);
        let last = returned
            .len()
            .checked_sub(1)
            .map_or(NONE, |at| line[at].0.index);
        assert_eq!(self.last_returned, last, "those at the head are a prefix");
        let edge = self
            .covered
            .checked_sub(1)
            .map_or(NONE, |at| line[at].0.index);
        assert_eq!(self.edge, edge);
        for (key, entry) in self.entries.iter() {
            let waits = matches!(entry.state, State::Waiting);
            assert_eq!(waits, entry.links.is_linked());
            let deadline = entry.deadline().filter(|_| waits);
            assert_eq!(self.deadlines.get(key.index), deadline);
        }
    }
}
