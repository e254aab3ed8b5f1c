//! Requests whose clock stands still while a dial for them is in progress (A7).

use tokio::time::Instant;

use crate::effects::Effects;
use crate::queue::Queue;
use crate::queue::entry::Clock;
use crate::slab::NONE;

impl<G, E> Queue<G, E> {
    /// Makes the first `target` of the line the covered ones: their clocks stand still. One whose
    /// clock runs again is woken, to set its timer.
    pub(crate) fn cover(&mut self, now: Instant, target: usize, effects: &mut Effects<E>) {
        // From the edge on, not from the head: an open more or less is one step, however long the
        // line.
        let target = target.min(self.len());
        while self.covered < target {
            let next = match self.edge {
                NONE => self.line.head().unwrap_or(NONE),
                edge => self.entries.at(edge).links.next(),
            };
            self.stop_clock(now, next);
            self.edge = next;
            self.covered += 1;
        }
        while self.covered > target {
            let last = self.edge;
            self.edge = self.entries.at(last).links.prev();
            self.covered -= 1;
            self.start_clock(now, last);
            // It may have set no timer while its clock stood still, and would sleep past its
            // deadline.
            effects.wake(self.entries.at_mut(last).waker.take());
        }
    }

    pub(super) fn stop_clock(&mut self, now: Instant, index: u32) {
        let entry = self.entries.at_mut(index);
        // Only a clock that runs: stopped twice, it would lose the time from the first stop to the
        // second.
        if let Clock::Until(at) = entry.clock {
            entry.clock = Clock::Still(at.map(|at| at.saturating_duration_since(now)), now);
        }
        self.set_deadline(now, index);
    }

    pub(super) fn start_clock(&mut self, now: Instant, index: u32) {
        let entry = self.entries.at_mut(index);
        if let Clock::Still(left, since) = entry.clock {
            let still = now.saturating_duration_since(since);
            entry.stood = entry.stood.saturating_add(still);
            // With what was left when it stopped: started anew by each open that fails, it would
            // never run out.
            entry.clock = Clock::Until(left.and_then(|left| now.checked_add(left)));
        }
        self.set_deadline(now, index);
    }
}
