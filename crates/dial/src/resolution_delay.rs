//! IPv4 addresses that give IPv6 a moment: the resolution delay of RFC 8305 section 3.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::late::Late;

/// An answer that is not raced over yet.
pub(crate) struct ResolutionDelay {
    first: Vec<SocketAddr>,
    late: Option<Late>,
    until: Instant,
}

/// The addresses to race over now, and those that may join later.
pub(crate) struct Released {
    pub(crate) first: Vec<SocketAddr>,
    /// The whole answer, if it came in time.
    pub(crate) whole: Vec<SocketAddr>,
    pub(crate) late: Option<Late>,
}

impl ResolutionDelay {
    /// Holds an answer of IPv4 addresses while `late` has not had `delay` yet.
    pub(crate) fn or_released(
        first: Vec<SocketAddr>,
        late: Option<Late>,
        delay: Duration,
        now: Instant,
    ) -> Result<Self, Released> {
        let left = match &late {
            Some(late) => delay.saturating_sub(late.waited()),
            None => Duration::ZERO,
        };
        let is_v4 = !first.is_empty() && first.iter().all(SocketAddr::is_ipv4);
        match now.checked_add(left) {
            // IPv6 alone waits for nothing: it is the family that the delay prefers (RFC 8305
            // section 3).
            Some(until) if is_v4 && now < until => Ok(Self { first, late, until }),
            _ => Err(Released::new(first, Vec::new(), late)),
        }
    }

    pub(crate) const fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Released> {
        // Asked before the clock: what comes at the last moment is in time.
        let came = match &mut self.late {
            Some(late) => Pin::new(late).poll(cx),
            None => Poll::Ready(Vec::new()),
        };
        let (whole, late) = match came {
            Poll::Pending if now < self.until => return Poll::Pending,
            Poll::Pending => (Vec::new(), self.late.take()),
            Poll::Ready(whole) => (whole, None),
        };
        Poll::Ready(Released::new(std::mem::take(&mut self.first), whole, late))
    }
}

impl Released {
    const fn new(first: Vec<SocketAddr>, whole: Vec<SocketAddr>, late: Option<Late>) -> Self {
        Self { first, whole, late }
    }
}
