//! Connections in memory, for a clock that stands still.

use tollgate_keep_alive::{KeepAlive, KeepAliveLayer};
use tollgate_testing::InMemory;
use tower::Layer;

use super::*;

/// A pool above a peer in memory.
pub(crate) struct Still {
    pub(crate) pool: KeepAlive,
    pub(crate) peer: Peer,
    pub(crate) uri: Uri,
}

impl Still {
    pub(crate) fn new(layer: &KeepAliveLayer) -> Self {
        let peer = Peer::new(([127, 0, 0, 1], 0).into(), None);
        let serving = peer.clone();
        let connector = InMemory::serving(move |server| {
            tokio::spawn(serving.clone().serve(server));
            Ok(())
        });
        Self {
            pool: layer.layer(connector.http2()),
            peer,
            uri: Uri::from_static("https://peer.test/"),
        }
    }

    pub(crate) fn stats(&self) -> OriginStats {
        let origin: Origin = self.uri.to_string().parse().unwrap();
        self.pool.stats(&origin).unwrap()
    }
}
