//! `tollgate::Client` as the transport of clients that tonic generates, where a `Channel` would be.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod cancel;
mod deadlines;
mod failures;
mod greeter;
mod kinds;
mod server;
mod site;
mod soak;
