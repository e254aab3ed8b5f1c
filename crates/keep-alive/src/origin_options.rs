//! What one origin has of its own.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The options of one origin, for [`KeepAliveLayer::origin`](crate::KeepAliveLayer::origin); each
/// that is not set is the pool's.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "options do nothing until they are given to a layer"]
pub struct KeepAliveOriginOptions {
    pub(crate) max_connections: Option<NonZeroUsize>,
    pub(crate) max_connecting: Option<NonZeroUsize>,
    pub(crate) max_idle: Option<usize>,
    pub(crate) min_idle: Option<usize>,
    pub(crate) max_waiting: Option<usize>,
    pub(crate) acquire_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) connect_timeout: Option<Duration>,
}

/// Defines a consuming setter for each field.
macro_rules! setters {
    ($($field:ident: $type:ty, $pool:literal;)*) => {
        $(
            #[doc = concat!(
                "In the place of the pool's [`", $pool, "`](crate::KeepAliveLayer::", $pool, ")."
            )]
            pub const fn $field(mut self, $field: $type) -> Self {
                self.$field = Some($field);
                self
            }
        )*
    };
}

impl KeepAliveOriginOptions {
    /// With nothing set.
    pub const fn new() -> Self {
        Self {
            max_connections: None,
            max_connecting: None,
            max_idle: None,
            min_idle: None,
            max_waiting: None,
            acquire_timeout: None,
            idle_timeout: None,
            max_lifetime: None,
            connect_timeout: None,
        }
    }

    setters! {
        max_connections: NonZeroUsize, "max_connections_per_origin";
        max_connecting: NonZeroUsize, "max_connecting_per_origin";
        max_idle: usize, "max_idle_per_origin";
        min_idle: usize, "min_idle_per_origin";
        max_waiting: usize, "max_waiting";
        acquire_timeout: Duration, "acquire_timeout";
        idle_timeout: Duration, "idle_timeout";
        max_lifetime: Duration, "max_lifetime";
        connect_timeout: Duration, "connect_timeout";
    }
}
