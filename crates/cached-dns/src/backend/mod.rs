//! Where answers come from.

mod gai;
mod static_hosts;

pub use gai::{Gai, GaiFuture};
