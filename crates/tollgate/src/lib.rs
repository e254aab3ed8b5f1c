//! Outbound HTTP for Rust services: bounded, kept alive, DNS-cached, timed out and visible.
mod assemble;
mod body;
mod build_error;
mod builder;
mod client;
mod error;
mod error_kind;
mod future;
mod global;
pub mod guide;
mod origin_client;
#[cfg(not(feature = "tls"))]
mod plaintext;
mod retire;
mod settings;
mod snapshot;
#[cfg(feature = "tls")]
pub mod tls;

pub use body::Body;
pub use build_error::{BuildError, BuildErrorKind};
pub use builder::ClientBuilder;
pub use client::Client;
pub use error::Error;
pub use error_kind::ErrorKind;
pub use future::ResponseFuture;
pub use global::{AlreadyInstalled, client, install};
pub use origin_client::OriginClient;
pub use settings::OriginOptions;
pub use snapshot::Snapshot;

pub use tollgate_cached_dns as cached_dns;
pub use tollgate_connect_timeout as connect_timeout;
pub use tollgate_dial as dial;
pub use tollgate_keep_alive as keep_alive;
pub use tollgate_pool_limit as pool_limit;
pub use tollgate_queue_metrics as queue_metrics;

pub use tollgate_core::{
    BoxError, CloseReason, ConnectErrorKind, Event, Observer, Origin, Phase, RefuseReason, Timings,
    error::find,
};
pub use tollgate_keep_alive::{Deadline, OriginStats, RetryPolicy};
