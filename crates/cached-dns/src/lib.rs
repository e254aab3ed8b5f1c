//! Caches DNS answers.

mod addrs;
mod answer;
mod backend;
mod cache;
mod changes;
mod config;
mod demotion;
mod engine;
mod entry;
mod error;
mod flight;
mod flights;
mod future;
mod handle;
mod hosts;
mod layer;
mod name;
mod outcome;
mod random;
#[cfg(feature = "reqwest")]
mod reqwest;
mod service;
mod snapshot;
mod stats;
mod times;

pub use addrs::{Addrs, Freshness};
pub use answer::{Answer, IntoAnswer};
pub use backend::{Gai, GaiFuture};
#[cfg(feature = "hickory")]
pub use backend::{Hickory, HickoryBuilder, HickoryError, HickoryFuture};
pub use changes::{DnsChange, DnsChanges};
pub use config::Rotation;
pub use error::{InvalidBounds, LookupError, LookupErrorKind};
pub use future::CachedDnsFuture;
pub use handle::DnsHandle;
pub use hosts::StaticHosts;
pub use layer::CachedDnsLayer;
pub use service::CachedDns;
pub use snapshot::{AddrSnapshot, NameSnapshot, NameState};
pub use stats::DnsStats;
