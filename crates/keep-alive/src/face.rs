//! The Tower face: layer, services, future.

pub(crate) mod future;
pub(crate) mod layer;
pub(crate) mod origin_service;
mod retire;
pub(crate) mod service;
