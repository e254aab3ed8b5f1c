//! A Tower connector that dials by RFC 8305 over any resolver, with socket options, an address policy and errors that name every attempt.

mod attempt;
mod config;
mod dialling;
mod error;
mod future;
mod heat;
mod judge;
mod layer;
mod memory;
mod message;
mod policy;
mod race;
mod service;
mod socket;
mod stream;
mod target;
mod unix;

pub use attempt::{AttemptError, TcpAttempt, TcpConnecting};
pub use error::{DialError, DialFailure};
pub use future::DialFuture;
pub use layer::DialLayer;
pub use policy::AddrPolicy;
pub use service::Dial;
pub use stream::DialStream;
