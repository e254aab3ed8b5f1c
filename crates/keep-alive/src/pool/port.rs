//! What connections of HTTP/2 say to their origin, and ask of it.

use std::sync::Arc;

use tokio::time::Instant;
use tollgate_core::CloseReason;

use crate::connection::conn::Conn;
use crate::connection::http2::Memory;
use crate::connection::port::Port;
use crate::pool::origin_pool::OriginPool;

impl Port for Arc<OriginPool> {
    fn offers(&self, conn: &Conn, streams: usize) {
        if let Some(&resource) = conn.resource.get() {
            let now = Instant::now();
            self.touch(|inner| inner.engine.credit_changed(resource, now, streams));
        }
    }

    fn retires(&self, conn: &Conn, reason: CloseReason) {
        if let Some(&resource) = conn.resource.get() {
            self.touch(|inner| inner.engine.retire(resource, reason));
        }
    }

    fn has_room_beside(&self) -> bool {
        self.read(|inner| {
            let (stats, max) = (inner.engine.stats(), inner.engine.limit());
            // Another that is open may serve meanwhile, whatever the cap has left.
            stats.open + stats.connecting < max || stats.open > 1
        })
    }

    fn require_http1(&self) -> bool {
        OriginPool::require_http1(self)
    }

    fn slow_pings(&self) {
        self.http2.slow_pings(&self.origin);
    }

    fn memory(&self) -> &Memory {
        &self.http2
    }
}
