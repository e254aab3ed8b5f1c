//! A certificate authority, and a server with a certificate of its own choosing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tollgate::tls::TlsOptions;

/// Signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self::named(&format!("authority {}", NEXT.fetch_add(1, SeqCst)))
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name`.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        self.sign(&params(name))
    }

    /// One whose time is over.
    pub(crate) fn issue_expired(&self, name: &str) -> Identity {
        let mut params = params(name);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A certificate that signs itself.
pub(crate) fn self_signed(name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let cert = params(name).self_signed(&key).unwrap();
    Identity {
        cert: cert.pem(),
        key: key.serialize_pem(),
    }
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// Options that trust somebody, whatever the features: for servers that never get to show themselves.
pub(crate) fn trusting_one() -> TlsOptions {
    TlsOptions::new().root_pem(Authority::new().pem())
}

/// What a TLS server wants of its clients.
pub(crate) struct Server {
    pub(crate) identity: Identity,
    pub(crate) clients: Option<String>,
    versions: &'static [&'static rustls::SupportedProtocolVersion],
}

impl Server {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            clients: None,
            versions: rustls::ALL_VERSIONS,
        }
    }

    /// Speaks TLS 1.2 and nothing newer.
    pub(crate) fn only_tls_12(mut self) -> Self {
        static TLS_12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
        self.versions = TLS_12;
        self
    }

    /// Wants a certificate signed by this authority.
    pub(crate) fn clients_of(mut self, authority: &Authority) -> Self {
        self.clients = Some(authority.pem());
        self
    }

    /// Starts one on `127.0.0.1` that answers every request with `ok`.
    pub(crate) async fn start(self) -> Running {
        let acceptor = self.acceptor();
        let resumed = Arc::clone(&acceptor.resumed);
        let mut running = serve(move |stream| acceptor.clone().serve(stream)).await;
        running.resumed = resumed;
        running
    }

    /// What it does with one connection.
    pub(crate) fn acceptor(self) -> Acceptor {
        Acceptor {
            tls: TlsAcceptor::from(Arc::new(self.config())),
            resumed: Arc::default(),
        }
    }

    fn config(self) -> ServerConfig {
        let cert = CertificateDer::from_pem_slice(self.identity.cert.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.identity.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .unwrap();
        let builder = match self.clients {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                let root = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
                roots.add(root).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(vec![cert], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

/// Shakes hands, then answers every request with `ok`.
#[derive(Clone)]
pub(crate) struct Acceptor {
    tls: TlsAcceptor,
    resumed: Arc<AtomicUsize>,
}

impl Acceptor {
    /// A handshake that has to succeed.
    pub(crate) async fn accept(self, stream: TcpStream) -> TlsStream<TcpStream> {
        self.tls.accept(stream).await.unwrap()
    }

    pub(crate) async fn serve(self, stream: TcpStream) {
        match self.tls.accept(stream).into_fallible().await {
            Ok(stream) => {
                let kind = stream.get_ref().1.handshake_kind();
                if kind == Some(rustls::HandshakeKind::Resumed) {
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
}

/// A server that does with each connection what it was told; stops when dropped.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    resumed: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// How many handshakes resumed a session.
    pub(crate) fn resumed(&self) -> usize {
        self.resumed.load(SeqCst)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn serve<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> Running
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, SeqCst);
            tokio::spawn(each(stream));
        }
    });
    Running {
        addr,
        resumed: Arc::default(),
        accepted,
        task,
    }
}

/// Answers requests without a body until the client leaves.
async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(n @ 1..) = stream.read(&mut chunk).await {
        head.extend_from_slice(&chunk[..n]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            let written = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            if written.await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}
