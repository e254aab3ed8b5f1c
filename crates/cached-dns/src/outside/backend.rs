//! The backends that answers come from.

mod gai;
#[cfg(feature = "hickory")]
mod hickory;
mod static_hosts;
mod watched;

pub use gai::{Gai, GaiFuture};
#[cfg(feature = "hickory")]
pub use hickory::{Hickory, HickoryBuilder, HickoryError, HickoryFuture};
