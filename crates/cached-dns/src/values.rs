//! Values: names, errors, times and random numbers. No configuration, no lock, no runtime.

pub(crate) mod bounds;
pub(crate) mod error;
pub(crate) mod name;
pub(crate) mod random;
pub(crate) mod ttl;
