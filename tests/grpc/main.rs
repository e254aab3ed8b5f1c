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
#[path = "../../crates/tollgate/tests/support/tls.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod tls;
