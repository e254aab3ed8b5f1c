//! Reservations that are not collected.
//!
//! A reservation is collected when the task that was woken for it is polled, which a runtime that is
//! not driven never does. So it lapses: the value goes to the next, and the ticket waits out of the
//! line until it is polled, then again at its head.

use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::Ticket;
use crate::queue::Queue;
use crate::queue::entry::State;

/// The time for which a place or a lease is reserved for a waiter: 250 ms.
///
/// Far longer than a task that was woken waits for its turn on a runtime that works, and short beside
/// the time that requests wait for a lease.
pub const RESERVED_FOR: Duration = Duration::from_millis(250);

impl<G, E> Queue<G, E> {
    /// Notes a reservation that was made.
    pub(super) fn note_reserved(&mut self, now: Instant, index: u32) {
        // Here too, since not every owner ticks: the list would grow with each grant.
        self.forget_collected();
        let key = self.entries.key(index);
        // By ticket, not by index: the place's next tenant is another's. One that was revoked and
        // reserved again stands here twice, and lapses by the older, so early and never late.
        self.reservations.push_back((now, Ticket(key)));
    }

    /// Forgets the oldest reservations that are no more.
    fn forget_collected(&mut self) {
        while let Some((_, oldest)) = self.reservations.front()
            // From the front alone: those behind it were made later, and lapse later.
            && self.reserved(*oldest).is_none()
        {
            self.reservations.pop_front();
        }
    }

    /// Returns the time at which the oldest reservation lapses.
    pub(crate) fn next_lapse(&mut self) -> Option<Instant> {
        self.forget_collected();
        let (since, _) = self.reservations.front()?;
        since.checked_add(RESERVED_FOR)
    }

    /// Takes back a reservation that has lapsed.
    pub(crate) fn lapse(&mut self, now: Instant) -> Option<G> {
        // By way of `next_lapse`, which forgets the collected: the front is one that still stands.
        self.next_lapse().filter(|at| *at <= now)?;
        let (_, ticket) = self.reservations.pop_front()?;
        let entry = self.entries.get_mut(ticket.0)?;
        match std::mem::replace(&mut entry.state, State::Lapsed) {
            // The ticket keeps its entry: it is out of the line until it is polled, so that a task
            // that never runs is granted no second lease.
            State::Reserved(value, _) => Some(value),
            other => {
                entry.state = other;
                None
            }
        }
    }

    /// Returns true if the reservation of a ticket has lapsed.
    pub(crate) fn is_lapsed(&self, ticket: Ticket) -> bool {
        let entry = self.entries.get(ticket.0);
        entry.is_some_and(|entry| matches!(entry.state, State::Lapsed))
    }
}
