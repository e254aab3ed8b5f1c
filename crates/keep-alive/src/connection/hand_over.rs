//! The hand-over of a request to the half of hyper that takes it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tollgate_core::lock::lock;

/// Keeps a request from being handed over while the half that takes it is dropped.
///
/// A value that is sent into hyper's channel in the middle of that drop is lost until every sender is
/// gone: neither taken nor given back. The senders live as long as the connection's leases, and the
/// caller would wait as long.
///
/// The mutex guards that order alone, for one push and one drop. Both wake tasks, which at most find a
/// connection that takes no more.
#[derive(Clone, Default)]
pub(crate) struct HandOver(Arc<Mutex<()>>);

impl HandOver {
    /// Keeps the other side out until it is dropped. No closure: what is handed over is large to move.
    #[inline]
    #[must_use = "the other side is kept out as long as this lives"]
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        lock(&self.0)
    }
}

impl fmt::Debug for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandOver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_over_excludes_the_other_side() {
        let both = HandOver::default();
        let held = both.hold();
        assert!(both.0.try_lock().is_err(), "the other side may pass too");
        drop(held);
        assert!(both.0.try_lock().is_ok());
    }
}
