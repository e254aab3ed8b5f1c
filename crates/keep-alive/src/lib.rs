//! A Tower layer that turns a connector into a keep-alive connection pool with a cap per origin, a
//! fair queue and no ghost connects.

mod admin;
mod body;
mod config;
mod conn;
mod deadline;
mod dial;
mod driver;
mod erased;
mod error;
mod exchange;
mod future;
mod hint;
mod io;
mod layer;
mod lease;
mod maintenance;
mod origin_pool;
mod origin_service;
mod origins;
mod request;
mod service;
mod shared;
mod slot;
mod stats;
mod total;
mod waiting;

pub use body::KeepAliveBody;
pub use config::RetryPolicy;
pub use deadline::Deadline;
pub use error::{KeepAliveError, KeepAliveErrorKind};
pub use future::KeepAliveFuture;
pub use layer::KeepAliveLayer;
pub use origin_service::KeepAliveOrigin;
pub use service::KeepAlive;
pub use stats::{OriginStats, Snapshot};
