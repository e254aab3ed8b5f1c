//! The options of a pool: plain values with their defaults.

pub(crate) mod config;
mod contradictions;
pub(crate) mod http1;
pub(crate) mod invalid;
pub(crate) mod no_retry;
pub(crate) mod observed;
pub(crate) mod origin_options;
pub(crate) mod pool_options;
pub(crate) mod protocol;
pub(crate) mod retry;
