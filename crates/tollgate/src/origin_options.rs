//! The options of one origin.

/// The options of one origin, for [`ClientBuilder::origin`](crate::ClientBuilder::origin).
#[derive(Clone, Debug, Default)]
#[must_use = "options that are not returned have no effect"]
pub struct OriginOptions {
    pub(crate) max_connections: Option<usize>,
}

impl OriginOptions {
    /// Most connections to this origin. Default: the client's
    /// [`max_connections_per_origin`](crate::ClientBuilder::max_connections_per_origin).
    pub const fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = Some(max);
        self
    }
}
