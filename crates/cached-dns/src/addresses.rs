//! Addresses of a name: as a backend answers, as a caller gets them, pinned, demoted, compared.
//! Nothing here waits or asks.

pub(crate) mod addrs;
pub(crate) mod answer;
pub(crate) mod awaited;
pub(crate) mod changes;
pub(crate) mod demotion;
pub(crate) mod group;
pub(crate) mod hosts;
