//! The numbers are the truth: through the real pool, at every moment of rest, every gauge is what
//! the server and the callers count themselves, and the demands add up (invariant A10).
//!
//! Ten minutes of a paused clock; and real sockets, with HTTP/1 and with HTTP/2, for five seconds or
//! as many as `TOLLGATE_TRUTH_SECS` says: a minute in the full gate.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../common/mod.rs"]
mod common;
mod harness;
mod paused;
mod peer;
mod sockets;
mod streams;
