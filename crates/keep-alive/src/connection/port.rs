//! What a connection of HTTP/2 says to the pool above it, and asks of it.

use tollgate_core::CloseReason;

use crate::connection::conn::Conn;
use crate::connection::http2::Memory;

/// The connections of one origin, as one of them sees them.
pub(crate) trait Port: Send + Sync {
    /// `conn` takes so many streams at once from now on.
    fn offers(&self, conn: &Conn, streams: usize);

    /// `conn` takes no more requests.
    fn retires(&self, conn: &Conn, reason: CloseReason);

    /// Returns true if another connection may be opened while one takes nothing.
    fn has_room_beside(&self) -> bool;

    /// The next connections are of HTTP/1.1, since the peer requires that. Returns false if they cannot be.
    fn require_http1(&self) -> bool;

    /// Pings are too many for the peer.
    fn slow_pings(&self);

    fn memory(&self) -> &Memory;
}
