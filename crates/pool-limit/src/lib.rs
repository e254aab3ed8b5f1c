//! A limit on the requests in flight, per origin.
mod body;
mod error;
mod future;
mod handle;
mod keys;
mod layer;
mod release;
mod reserving;
mod service;
mod slot;

pub use body::PoolLimitBody;
pub use error::{AcquireTimedOut, Closed, PoolFull, StillInFlight, ZeroLimit};
pub use future::{PoolLimitFuture, ReservedFuture};
pub use handle::PoolLimitHandle;
pub use keys::{LimitBy, PerKey, PerOrigin, Scheme, WholeService};
pub use layer::PoolLimitLayer;
pub use release::{BodyEnd, Head, PermitUntil};
pub use reserving::{ReservingPoolLimit, ReservingPoolLimitLayer};
pub use service::PoolLimit;
pub use slot::{PoolLimitPermit, UNKNOWN_ORIGIN};
pub use tollgate_admission::{GateStats, Totals};
