//! The outside: the Tower layer and service, the handle, the tasks that run lookups, and the
//! backends. Only here are runtimes, timers, sockets and files.

pub(crate) mod backend;
pub(crate) mod engine;
pub(crate) mod future;
pub(crate) mod handle;
pub(crate) mod layer;
#[cfg(feature = "reqwest")]
mod reqwest;
pub(crate) mod service;
