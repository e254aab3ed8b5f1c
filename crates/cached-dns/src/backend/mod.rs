//! Where answers come from.

mod gai;
#[cfg(feature = "hickory")]
mod hickory;
mod static_hosts;

pub use gai::{Gai, GaiFuture};
#[cfg(feature = "hickory")]
pub use hickory::{Hickory, HickoryBuilder, HickoryError, HickoryFuture};
