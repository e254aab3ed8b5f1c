//! One connection to one address: TCP, TLS, HTTP/1.1, each with its time.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tollgate_core::BoxError;

/// The limit on each step of a connection.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The limit on a body that is read.
const MAX_BODY: usize = 1 << 20;

pub(crate) type Stream = Pin<Box<dyn Io>>;

pub(crate) trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send> Io for T {}

/// The origin as connections need it.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) uri: Uri,
    pub(crate) host: String,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection that is made, and what it took.
pub(crate) struct Connected {
    pub(crate) stream: Stream,
    pub(crate) tcp: Duration,
    pub(crate) tls: Option<Duration>,
    /// The server's choice of `h2` and `http/1.1`.
    pub(crate) alpn: Option<String>,
}

/// The step at which a connection failed.
#[derive(Debug)]
pub(crate) enum NoConnection {
    Tcp(io::Error),
    Tls(io::Error),
}

impl Target {
    /// `ca` is the text of certificates that are trusted besides Mozilla's.
    pub(crate) fn new(uri: Uri, ca: Option<&[u8]>) -> Result<Self, BoxError> {
        let host = uri.host().ok_or("the URL has no host")?.to_owned();
        let tls = match uri.scheme_str() {
            Some("https") => Some(Arc::new(client_config(ca)?)),
            Some("http") => None,
            _ => return Err("the URL is neither http nor https".into()),
        };
        Ok(Self { uri, host, tls })
    }

    pub(crate) fn port(&self) -> u16 {
        let default = if self.tls.is_some() { 443 } else { 80 };
        self.uri.port_u16().unwrap_or(default)
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects, offering `protocols` by ALPN.
    pub(crate) async fn connect(
        &self,
        addr: SocketAddr,
        protocols: &[&str],
    ) -> Result<Connected, NoConnection> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let start = Instant::now();
        let tcp = timeout(PATIENCE, TcpStream::connect(addr))
            .await
            .map_err(late)
            .and_then(|done| done);
        let tcp = tcp.map_err(NoConnection::Tcp)?;
        let took = start.elapsed();
        drop(tcp.set_nodelay(true));
        let Some(config) = &self.tls else {
            return Ok(Connected {
                stream: Box::pin(tcp),
                tcp: took,
                tls: None,
                alpn: None,
            });
        };
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = protocols
            .iter()
            .map(|one| one.as_bytes().to_vec())
            .collect();
        // An IPv6 address has brackets in a URL, and none in a certificate.
        let name = ServerName::try_from(self.host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|error| NoConnection::Tls(io::Error::other(error)))?;
        let start = Instant::now();
        let shake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let stream = timeout(PATIENCE, shake)
            .await
            .map_err(late)
            .and_then(|done| done);
        let stream = stream.map_err(NoConnection::Tls)?;
        let alpn = stream.get_ref().1.alpn_protocol();
        let alpn = alpn.map(|name| String::from_utf8_lossy(name).into_owned());
        Ok(Connected {
            stream: Box::pin(stream),
            tcp: took,
            tls: Some(start.elapsed()),
            alpn,
        })
    }

    /// A connection that speaks HTTP/1.1.
    pub(crate) async fn open(&self, addr: SocketAddr) -> Result<Exchange, BoxError> {
        let connected = self
            .connect(addr, &["http/1.1"])
            .await
            .map_err(NoConnection::into_io)?;
        let shaken = http1::handshake(TokioIo::new(connected.stream));
        let (sender, connection) = timeout(PATIENCE, shaken).await??;
        // Ends when either side closes.
        let closed = tokio::spawn(async move { drop(connection.await) });
        Ok(Exchange {
            sender,
            closed,
            target: self.clone(),
        })
    }
}

impl NoConnection {
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Tcp(error) | Self::Tls(error) => error,
        }
    }
}

fn client_config(ca: Option<&[u8]>) -> Result<ClientConfig, BoxError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    for certificate in CertificateDer::pem_slice_iter(ca.unwrap_or_default()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A connection of HTTP/1.1 that is open.
pub(crate) struct Exchange {
    sender: http1::SendRequest<Empty<Bytes>>,
    closed: JoinHandle<()>,
    target: Target,
}

impl Exchange {
    /// Sends a GET and reads the answer to its end; the head is returned.
    pub(crate) async fn get(&mut self) -> Result<http::response::Parts, BoxError> {
        let uri = &self.target.uri;
        let path = uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let authority = uri.authority().ok_or("the URL has no host")?;
        // User information is for a header that is not sent here.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let request = Request::get(path)
            .header(header::HOST, host)
            .header(
                header::USER_AGENT,
                concat!("tollgate-doctor/", env!("CARGO_PKG_VERSION")),
            )
            .header(header::ACCEPT, "*/*")
            .body(Empty::new())?;
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            read(response).await
        };
        timeout(2 * PATIENCE, exchange)
            .await
            .map_err(|_| "no answer in time")?
    }

    /// Waits for the other side to close: the time until then, or `None` after `longest`.
    pub(crate) async fn closes_within(&mut self, longest: Duration) -> Option<Duration> {
        let start = Instant::now();
        let closed = timeout(longest, &mut self.closed).await;
        closed.is_ok().then(|| start.elapsed())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.closed.abort();
    }
}

async fn read(response: Response<Incoming>) -> Result<http::response::Parts, BoxError> {
    let (head, mut body) = response.into_parts();
    let mut read = 0;
    // To its end, without which the connection is neither idle nor kept.
    while let Some(frame) = body.frame().await {
        read += frame?.data_ref().map_or(0, Bytes::len);
        if read > MAX_BODY {
            return Err("the body is longer than 1 MiB: ask for a smaller one".into());
        }
    }
    Ok(head)
}

/// One of `f` for each address, all at once.
pub(crate) async fn for_each<T, F: Future<Output = T>>(
    addrs: &[SocketAddr],
    f: impl Fn(SocketAddr) -> F,
) -> Vec<(SocketAddr, T)> {
    let all = addrs.iter().map(|addr| {
        let one = f(*addr);
        async move { (*addr, one.await) }
    });
    futures_util::future::join_all(all).await
}
