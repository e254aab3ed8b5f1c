//! The connection that a handshake hands over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpInfo};
use tollgate_core::{DialInfo, Encrypted, Origin};

/// A connection with TLS, or without it if the scheme was `http`.
///
/// Its [`DialInfo`], if the connection below has one, also has how long the handshake took.
#[derive(Debug)]
pub struct TlsStream<I> {
    stream: MaybeHttpsStream<I>,
    handshake: Option<Duration>,
    encrypted: Option<Encrypted>,
}

impl<I> TlsStream<I> {
    pub(crate) const fn plain(io: I) -> Self {
        Self {
            stream: MaybeHttpsStream::Http(io),
            handshake: None,
            encrypted: None,
        }
    }

    /// After a handshake of this length with `origin`.
    pub(crate) fn encrypted(
        stream: MaybeHttpsStream<I>,
        handshake: Duration,
        origin: Option<Origin>,
    ) -> Self {
        Self {
            stream,
            handshake: Some(handshake),
            encrypted: origin.map(Encrypted::to),
        }
    }

    /// Returns the time that the handshake took; `None` if there was none.
    pub const fn handshake(&self) -> Option<Duration> {
        self.handshake
    }

    fn pinned(self: Pin<&mut Self>) -> Pin<&mut MaybeHttpsStream<I>>
    where
        I: Unpin,
    {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl<I: Read + Write + Connection + Unpin> Connection for TlsStream<I> {
    fn connected(&self) -> Connected {
        let mut connected = self.stream.connected();
        let Some(handshake) = self.handshake else {
            return connected;
        };
        if let Some(encrypted) = &self.encrypted {
            connected = connected.extra(encrypted.clone());
        }
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        let mut info = match extras.remove::<DialInfo>() {
            Some(info) => info,
            None => of_foreign(extras.get::<HttpInfo>()),
        };
        info.tls = Some(handshake);
        // In the place of the dial's own: of two extras of one type the last counts.
        connected.extra(info)
    }
}

impl<I: Read + Write + Unpin> Read for TlsStream<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.pinned().poll_read(cx, buf)
    }
}

impl<I: Read + Write + Unpin> Write for TlsStream<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pinned().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pinned().poll_write_vectored(cx, bufs)
    }
}

/// Returns the details of a connector that is not Tollgate's: its addresses, at best.
fn of_foreign(http: Option<&HttpInfo>) -> DialInfo {
    let mut info = DialInfo::default();
    info.remote = http.map(HttpInfo::remote_addr);
    info.local = http.map(HttpInfo::local_addr);
    info
}
