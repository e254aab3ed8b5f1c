//! The numbers are the truth: through the real pool, at every moment of rest, every gauge is what
//! the server and the callers count themselves, and the demands add up (invariant A10).
//!
//! Ten minutes of a paused clock; and real sockets, for five seconds or as many as
//! `TOLLGATE_TRUTH_SECS` says.

#[path = "../common/mod.rs"]
mod common;
mod harness;
mod paused;
mod sockets;
