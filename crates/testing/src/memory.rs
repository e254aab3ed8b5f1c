//! A connector into a service of this process.

use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tollgate_core::BoxError;
use tower_service::Service;

/// Bytes that fit into each direction of a connection.
const DUPLEX: usize = 64 * 1024;

/// A connector, `Service<Uri>`, that leads every URI to one service in this process, over connections
/// in memory: no port, no socket, and a paused clock works.
///
/// Each connection is served by hyper, with HTTP/1.1, or HTTP/2 if the client begins with that. Use
/// URIs of scheme `http`: there is no TLS. Calls must be made inside a tokio runtime.
///
/// ```
/// # use tollgate_testing::InMemory;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use http_body_util::{BodyExt, Empty};
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
///
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let client: Client<_, Empty<&[u8]>> =
///     Client::builder(TokioExecutor::new()).build(InMemory::new(app));
/// let response = client.get("http://any.name/".parse()?).await?;
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "hello");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct InMemory {
    serve: Arc<dyn Fn(DuplexStream) -> io::Result<()> + Send + Sync>,
    http2: bool,
}

impl InMemory {
    /// Leads to this service; each connection gets a clone.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::serving(move |stream| {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let connection =
                    server.serve_connection_with_upgrades(TokioIo::new(stream), service);
                // An error is the client's, which has it too.
                drop(connection.await);
            });
            Ok(())
        })
    }

    /// Hands the server's end of each connection to `serve`, which may refuse it.
    pub fn serving(serve: impl Fn(DuplexStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            serve: Arc::new(serve),
            http2: false,
        }
    }

    /// Reports HTTP/2 as agreed on, as after ALPN.
    #[must_use]
    pub const fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }
}

impl Service<Uri> for InMemory {
    type Response = TokioIo<MemoryStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<MemoryStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, far) = tokio::io::duplex(DUPLEX);
        let http2 = self.http2;
        ready((self.serve)(far).map(|()| TokioIo::new(MemoryStream { io: near, http2 })))
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory").finish_non_exhaustive()
    }
}

/// A connection in memory.
#[derive(Debug)]
pub struct MemoryStream {
    io: DuplexStream,
    http2: bool,
}

impl Connection for MemoryStream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.http2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
