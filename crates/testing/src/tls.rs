//! A TLS server, with certificates of a test's own.
//!
//! ```
//! # use tollgate_testing::tls::{Authority, Server};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let authority = Authority::new(); // its pem() is for the client's roots
//! let server = Server::new(authority.issue("localhost")).start(); // answers each request with ok
//! assert_eq!(server.accepted(), 0);
//! # }
//! ```

mod authority;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::listener::Listener;
pub use authority::{Authority, Identity, self_signed};

const VALID: &str = "an identity of a test's own is valid";

/// A TLS server to be: its certificate, and its demands on clients.
#[must_use = "nothing listens before start"]
pub struct Server {
    identity: Identity,
    clients: Option<String>,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: &'static [&'static str],
}

impl Server {
    /// A server with this certificate that agrees on `h2` and `http/1.1`.
    pub const fn new(identity: Identity) -> Self {
        Self {
            identity,
            clients: None,
            versions: rustls::ALL_VERSIONS,
            alpn: &["h2", "http/1.1"],
        }
    }

    /// Speaks TLS 1.2 and nothing newer.
    pub const fn only_tls_12(mut self) -> Self {
        static TLS_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        self.versions = TLS_12;
        self
    }

    /// Agrees on these protocols alone; on none without ALPN.
    pub const fn alpn(mut self, alpn: &'static [&'static str]) -> Self {
        self.alpn = alpn;
        self
    }

    /// Demands a certificate signed by this authority.
    pub fn clients_of(mut self, authority: &Authority) -> Self {
        self.clients = Some(authority.pem());
        self
    }

    /// Starts one on `127.0.0.1` that answers every request with `ok`, over HTTP/1.1 whatever was
    /// agreed on.
    pub fn start(self) -> Listener {
        self.start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same on this address.
    pub fn start_at(self, addr: SocketAddr) -> Listener {
        let acceptor = self.acceptor();
        Listener::start_at(addr, move |stream| acceptor.clone().serve(stream))
    }

    /// Starts one on `127.0.0.1` that hands its connections on after the handshake, which has to
    /// succeed.
    pub fn serving<F>(
        self,
        each: impl Fn(TlsStream<TcpStream>) -> F + Send + Sync + 'static,
    ) -> Listener
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (acceptor, each) = (self.acceptor(), Arc::new(each));
        Listener::start(move |stream| {
            let (acceptor, each) = (acceptor.clone(), Arc::clone(&each));
            async move {
                each(acceptor.accept(stream).await).await;
            }
        })
    }

    /// Its part in one connection.
    ///
    /// # Panics
    ///
    /// If the identity is none.
    pub fn acceptor(self) -> Acceptor {
        Acceptor {
            tls: TlsAcceptor::from(Arc::new(self.config())),
            resumed: Arc::default(),
        }
    }

    fn config(self) -> ServerConfig {
        let cert = CertificateDer::from_pem_slice(self.identity.cert.as_bytes()).expect(VALID);
        let key = PrivateKeyDer::from_pem_slice(self.identity.key.as_bytes()).expect(VALID);
        // Named: the process may have no default provider.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .expect("ring has these versions");
        let builder = match self.clients {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                let root = CertificateDer::from_pem_slice(pem.as_bytes()).expect(VALID);
                roots.add(root).expect(VALID);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().expect(VALID))
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(vec![cert], key).expect(VALID);
        let alpn = self.alpn.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = alpn.collect();
        config
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("Server");
        server.field("alpn", &self.alpn).finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// A TLS server's part in one connection. Clones count together.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    resumed: Arc<AtomicUsize>,
}

impl Acceptor {
    /// Does the server's part of a handshake.
    ///
    /// # Panics
    ///
    /// If the handshake fails.
    pub async fn accept(self, stream: TcpStream) -> TlsStream<TcpStream> {
        let stream = self.tls.accept(stream).await;
        stream.expect("the handshake succeeds")
    }

    /// Answers every request without a body with `ok`, if the handshake succeeds.
    pub async fn serve(self, stream: TcpStream) {
        match self.tls.accept(stream).into_fallible().await {
            Ok(stream) => {
                if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                    self.resumed.fetch_add(1, SeqCst);
                }
                answer(stream).await;
            }
            // Closed with bytes unread, the socket would be reset, and its alert lost.
            Err((_, mut stream)) => {
                let _ended = stream.shutdown().await;
                let _drained = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
        }
    }

    /// Handshakes served that resumed a session.
    pub fn resumed(&self) -> usize {
        self.resumed.load(SeqCst)
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut acceptor = f.debug_struct("Acceptor");
        acceptor
            .field("resumed", &self.resumed())
            .finish_non_exhaustive()
    }
}

/// Answers requests without a body until the client closes.
pub(crate) async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(n @ 1..) = stream.read(&mut chunk).await {
        head.extend_from_slice(&chunk[..n]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            let written = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            // A TLS stream may keep what is written until it is flushed.
            if written.await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}
