//! What a connection runs on: TCP, or memory.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;

/// The transport of a connection.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the coming drop a reset.
    fn reset_on_drop(&self);
}

impl Wire for TcpStream {
    fn reset_on_drop(&self) {
        // Fails only on a socket that is already gone.
        drop(socket2::SockRef::from(self).set_linger(Some(Duration::ZERO)));
    }
}

impl Wire for DuplexStream {
    fn reset_on_drop(&self) {}
}
