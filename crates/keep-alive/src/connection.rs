//! One connection: its IO, its driver, its sender, its request bodies. It knows nothing of pools.

pub(crate) mod conn;
pub(crate) mod counted;
pub(crate) mod driver;
pub(crate) mod erased;
pub(crate) mod guarded;
pub(crate) mod hand_over;
pub(crate) mod hint;
pub(crate) mod http2;
pub(crate) mod http2_sender;
pub(crate) mod io;
pub(crate) mod parked;
pub(crate) mod port;
pub(crate) mod replay;
pub(crate) mod request;
pub(crate) mod reread;
pub(crate) mod sender;
pub(crate) mod upload;

use tokio::time::Instant;

/// The earlier of two moments that may not be.
pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
