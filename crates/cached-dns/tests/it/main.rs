//! The cache from outside, fault by fault. "Fault 5" and the like number the catalogue in the README.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod adapters;
mod bounds;
mod common;
#[cfg(all(feature = "hickory", unix))]
mod dnsmasq;
mod flights;
mod handle;
mod hit;
mod late;
mod life;
mod names;
#[cfg(feature = "hickory")]
mod nameserver;
mod rotation;
mod ttl;
