//! The same below TLS: a server's stream, and its certificate.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tollgate_testing::tls::{Acceptor, Authority, Server};

use crate::script::{Case, Version};

/// The name of the certificate.
pub(crate) const HOST: &str = "localhost";

/// The authority to trust, and the server's part in handshakes, in which it agrees on this version if
/// that is offered, or else on HTTP/1.1.
pub(crate) fn acceptor(version: Version) -> (String, Acceptor) {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST));
    let server = match version {
        Version::Http1 => server.alpn(&["http/1.1"]),
        Version::Http2 => server,
    };
    (authority.pem(), server.acceptor())
}

/// The same cases below TLS.
pub(crate) fn below(cases: Vec<Case>) -> Vec<Case> {
    cases.into_iter().map(Case::over_tls).collect()
}

/// The server's end of a connection.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// The script closed it, and may go on with marks.
    Closed,
}

impl Stream {
    pub(crate) async fn begin(stream: TcpStream, acceptor: Option<Acceptor>) -> Self {
        match acceptor {
            Some(acceptor) => Self::Tls(Box::new(acceptor.accept(stream).await)),
            None => Self::Plain(stream),
        }
    }

    /// Closes the socket; with a RST if something is left unread.
    pub(crate) fn close(&mut self) {
        *self = Self::Closed;
    }

    /// Closes it with a RST.
    pub(crate) fn reset(&mut self) {
        if let Some(socket) = self.socket() {
            let linger = socket2::SockRef::from(socket);
            linger.set_linger(Some(Duration::ZERO)).unwrap();
        }
        self.close();
    }

    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::Closed => None,
        }
    }

    /// Does this with the stream, if there is one.
    fn with<T>(
        self: Pin<&mut Self>,
        closed: T,
        act: impl FnOnce(Pin<&mut dyn Io>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match self.get_mut() {
            Self::Plain(stream) => act(Pin::new(stream)),
            Self::Tls(stream) => act(Pin::new(&mut **stream)),
            Self::Closed => Poll::Ready(Ok(closed)),
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with((), |stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(0, |stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with((), |stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with((), |stream| stream.poll_shutdown(cx))
    }
}
