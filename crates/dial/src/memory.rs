//! The memory of earlier dials: no Tower, time as an argument.
//!
//! The losers are remembered, not the winner: a remembered winner would draw every connection to
//! one address, while the rest of the answer keeps the order in which the resolver spreads them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::lock::lock;
use tollgate_core::{Attempt, AttemptOutcome, ConnectErrorKind};

use crate::race::interleave;

/// The time for which a loser is tried last: about the life of a dead host in a load balancer's answer.
pub(crate) const LATE_FOR: Duration = Duration::from_secs(30);
/// As many IPv6 losses in a row begin the dials with IPv4 (RFC 6555 section 4.2).
const V6_LOSSES: u32 = 3;
/// For how long they do (RFC 6555 section 4.2: "on the order of 10 minutes").
const V4_FIRST_FOR: Duration = Duration::from_secs(600);
/// As many hosts are remembered; those beyond are dialled without memory.
const MAX_HOSTS: usize = 1024;
/// As many losers of one host are.
const MAX_LATE: usize = 64;

/// Shared by the clones of one `Dial`.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Plain values; nothing foreign runs under it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hosts: HashMap<Box<str>, Vec<Late>>,
    v6_losses: u32,
    v4_first_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Late {
    addr: SocketAddr,
    until: Instant,
}

impl Memory {
    /// The order to dial `addrs` in: families in turn, the losers of the last [`LATE_FOR`] last.
    ///
    /// A loser whose time is over comes first in one dial, which finds out how it fares; for the
    /// others it stays last meanwhile.
    pub(crate) fn order(
        &self,
        host: &str,
        mut addrs: Vec<SocketAddr>,
        first_family_count: usize,
        now: Instant,
    ) -> Vec<SocketAddr> {
        let interleave = |addrs| interleave(addrs, first_family_count);
        let mut state = self.locked();
        if state.v4_first_until.is_some_and(|until| now < until) {
            // Before the families take turns, which the first address begins. Stable: the
            // resolver's order stands within them.
            addrs.sort_by_key(SocketAddr::is_ipv6);
        }
        let Some(late) = state.hosts.get_mut(host) else {
            return interleave(addrs);
        };
        // Those whose time is over stay if this answer has them: one of them is the probe.
        late.retain(|late| now < late.until || addrs.contains(&late.addr));
        let probe = late
            .iter_mut()
            .filter(|late| late.until <= now)
            .min_by_key(|late| late.until)
            .map(|late| {
                // In the same turn under the lock: a second dial must not try it too.
                late.until = now + LATE_FOR;
                late.addr
            });
        let is_late = |addr: &SocketAddr| late.iter().any(|late| late.addr == *addr);
        let (last, good): (Vec<_>, Vec<_>) = addrs.into_iter().partition(is_late);
        let mut order: Vec<_> = probe.into_iter().collect();
        order.extend(interleave(good));
        order.extend(
            interleave(last)
                .into_iter()
                .filter(|addr| Some(*addr) != probe),
        );
        order
    }

    /// A dial was won: those that were slower or failed go last, the winner does not.
    pub(crate) fn won(&self, host: &str, attempts: &[Attempt], now: Instant) {
        let Some(won) = attempts
            .iter()
            .position(|attempt| attempt.outcome == AttemptOutcome::Connected)
        else {
            return;
        };
        let winner = attempts[won].addr;
        let losers = attempts[..won].iter().chain(&attempts[won + 1..]);
        let failed = losers
            .filter(|a| speaks_of_the_address(a.outcome))
            .map(|a| a.addr);
        // Those alone that had begun before the winner: a later one has had less time.
        let overtaken = attempts[..won]
            .iter()
            .filter(|a| a.outcome == AttemptOutcome::Abandoned)
            .map(|a| a.addr);
        let late: Vec<_> = failed.chain(overtaken).collect();
        let mut state = self.locked();
        state.count_families_locked(attempts[0].addr, winner, now);
        state.remember_locked(host, &late, Some(winner), now);
    }

    /// A dial ended with addresses untried: those that failed or had their chance go last, so that the
    /// next dial gets further.
    pub(crate) fn ran_out(&self, host: &str, attempts: &[Attempt], now: Instant) {
        let failed = attempts.iter().filter(|a| speaks_of_the_address(a.outcome));
        let failed: Vec<_> = failed.map(|a| a.addr).collect();
        self.locked().remember_locked(host, &failed, None, now);
    }

    /// The lock guards plain values only, so what a panicking thread left is whole.
    fn locked(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn count_families_locked(&mut self, first: SocketAddr, winner: SocketAddr, now: Instant) {
        if winner.is_ipv6() {
            self.v6_losses = 0;
        } else if first.is_ipv6() {
            // Where IPv6 had the first turn alone: otherwise nothing has beaten it.
            self.v6_losses += 1;
        }
        if self.v6_losses >= V6_LOSSES {
            // Counted anew for when the ten minutes are over: IPv6 is given all of its chances
            // again.
            self.v6_losses = 0;
            self.v4_first_until = Some(now + V4_FIRST_FOR);
        }
    }

    fn remember_locked(
        &mut self,
        host: &str,
        late: &[SocketAddr],
        winner: Option<SocketAddr>,
        now: Instant,
    ) {
        if !self.hosts.contains_key(host) {
            // A host without losers takes no place in the memory.
            if late.is_empty() || !self.has_room_locked(now) {
                return;
            }
            self.hosts.insert(host.into(), Vec::new());
        }
        let Some(known) = self.hosts.get_mut(host) else {
            return;
        };
        // The old entries out before the new ones come: an address would stand here twice, with two
        // times.
        known.retain(|known| Some(known.addr) != winner && !late.contains(&known.addr));
        let until = now + LATE_FOR;
        known.extend(late.iter().map(|&addr| Late { addr, until }));
        // The newest are at the end: the oldest go.
        let surplus = known.len().saturating_sub(MAX_LATE);
        known.drain(..surplus);
        if known.is_empty() {
            self.hosts.remove(host);
        }
    }

    fn has_room_locked(&mut self, now: Instant) -> bool {
        if self.hosts.len() >= MAX_HOSTS {
            // Only at the bound, since it walks all hosts under the lock that every dial takes.
            self.hosts
                .retain(|_, known| known.iter().any(|late| now < late.until));
        }
        self.hosts.len() < MAX_HOSTS
    }
}

/// Returns `true` if a failure is the address's and not this machine's.
fn speaks_of_the_address(outcome: AttemptOutcome) -> bool {
    match outcome {
        AttemptOutcome::Failed(kind) => !matches!(
            kind,
            ConnectErrorKind::PortsExhausted | ConnectErrorKind::TooManyOpenFiles
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
