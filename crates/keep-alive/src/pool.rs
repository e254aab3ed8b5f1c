//! The connections of all origins: the pool of each, the waits for them and
//! the leases on them, the table of origins, the total cap, the clock.

pub(crate) mod admin;
pub(crate) mod checkout;
pub(crate) mod clock;
mod closing;
pub(crate) mod entries;
pub(crate) mod give_back;
pub(crate) mod hosts;
pub(crate) mod inner;
pub(crate) mod lease;
pub(crate) mod opening;
pub(crate) mod origin_pool;
pub(crate) mod origins;
pub(crate) mod owner;
mod port;
pub(crate) mod retire;
pub(crate) mod runtimes;
pub(crate) mod shared;
#[cfg(test)]
mod tests;
pub(crate) mod total;
mod trampoline;
mod transaction;
pub(crate) mod waiting;
pub(crate) mod waits;
