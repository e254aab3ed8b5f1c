//! What is trusted, and who we are.

use std::fmt;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::tls::alpn::Alpn;
use crate::tls::error::TlsConfigError;
use crate::tls::service::TlsLayer;
use crate::tls::verify::AnyCertificate;
use crate::tls::version::TlsVersion;

/// Whom to trust over TLS, and who we are. The default shows no certificate and trusts Mozilla's roots;
/// without the feature `webpki-roots` it trusts no roots until an option names some.
///
/// What cannot be used is an error of [`layer`](Self::layer), or of
/// [`ClientBuilder::build`](crate::ClientBuilder::build).
#[derive(Clone)]
#[must_use = "options do nothing until they are built"]
pub struct TlsOptions {
    webpki_roots: bool,
    roots_pem: Vec<Vec<u8>>,
    identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
    min_version: TlsVersion,
    alpn: Alpn,
    #[cfg(feature = "platform-verifier")]
    platform_verifier: bool,
    accept_invalid_certs: bool,
    config: Option<Arc<ClientConfig>>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl TlsOptions {
    /// With the defaults.
    pub const fn new() -> Self {
        Self {
            webpki_roots: cfg!(feature = "webpki-roots"),
            roots_pem: Vec::new(),
            identity_pem: None,
            server_name: None,
            min_version: TlsVersion::Tls12,
            alpn: Alpn::Http1,
            #[cfg(feature = "platform-verifier")]
            platform_verifier: false,
            accept_invalid_certs: false,
            config: None,
        }
    }

    /// Trusts the certificates in this PEM text as well, such as a company's own authority.
    pub fn root_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots_pem.push(pem.into());
        self
    }

    /// Trusts Mozilla's roots. Default: yes. Needs the feature `webpki-roots`. Without them only
    /// the authorities given with [`root_pem`](Self::root_pem) are.
    #[cfg(feature = "webpki-roots")]
    pub const fn webpki_roots(mut self, on: bool) -> Self {
        self.webpki_roots = on;
        self
    }

    /// Verifies servers as the operating system does, with what its administrator trusts, in the
    /// place of Mozilla's roots; [`root_pem`](Self::root_pem) adds to it. Default: off. On Linux
    /// that is the system's bundle of roots, read once.
    #[cfg(feature = "platform-verifier")]
    pub const fn platform_verifier(mut self, on: bool) -> Self {
        self.platform_verifier = on;
        self
    }

    /// The certificate to show to servers that ask for one, with its chain, and its key; both PEM.
    pub fn identity_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity_pem = Some((chain.into(), key.into()));
        self
    }

    /// The name to ask for and to check the certificate against, of every server. Default: the
    /// URI's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The oldest version to accept. Default: TLS 1.2.
    pub const fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = version;
        self
    }

    /// Sets the protocols offered by ALPN. Default [`Alpn::Http1`]. With [`Alpn::Auto`] a
    /// [`Client`](crate::Client) speaks HTTP/2 to origins that prefer it; so do hyper-util's and
    /// tonic's over [`layer`](Self::layer), whose connector reports what was negotiated.
    pub const fn alpn(mut self, alpn: Alpn) -> Self {
        self.alpn = alpn;
        self
    }

    /// Takes any certificate: any machine on the path can read and change everything.
    /// For tests. Warns once per client, through `tracing`.
    pub const fn danger_accept_invalid_certs(mut self, on: bool) -> Self {
        self.accept_invalid_certs = on;
        self
    }

    /// A configuration of rustls in the place of all other options but
    /// [`server_name`](Self::server_name) and [`alpn`](Self::alpn), which replaces its protocols.
    pub fn rustls_config(mut self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.config = Some(config.into());
        self
    }

    /// The layer that puts TLS over a connector.
    ///
    /// # Errors
    ///
    /// If a certificate, a key or a name cannot be used, or nothing is trusted.
    pub fn layer(&self) -> Result<TlsLayer, TlsConfigError> {
        let mut config = match &self.config {
            // Copied, since its protocols are replaced below; its session store is shared.
            Some(config) => ClientConfig::clone(config),
            None => self.client_config()?,
        };
        config.alpn_protocols = self.alpn.protocols();
        let name = self.server_name.clone().map(ServerName::try_from);
        let name = name.transpose().map_err(|error| {
            TlsConfigError::because(
                "the server name is neither a host name nor an address",
                error,
            )
        })?;
        Ok(TlsLayer::with_config(config, self.alpn, name))
    }

    fn client_config(&self) -> Result<ClientConfig, TlsConfigError> {
        // Named here, so that a process-wide provider of somebody else's does not matter.
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.min_version.and_newer())
            .map_err(|error| TlsConfigError::because("no usable protocol version", error))?;
        let builder = self.trust(builder)?;
        let mut config = match &self.identity_pem {
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
                    TlsConfigError::because("the client's key is not a PEM private key", error)
                })?;
                builder
                    .with_client_auth_cert(certificates(chain)?, key)
                    .map_err(|error| {
                        TlsConfigError::because(
                            "the client's certificate and key do not fit",
                            error,
                        )
                    })?
            }
            None => builder.with_no_client_auth(),
        };
        // Last: it takes the place of the verifier made above.
        if self.accept_invalid_certs {
            accept_any(&mut config, &provider);
        }
        Ok(config)
    }

    fn trust(
        &self,
        builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    ) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsConfigError> {
        #[cfg(feature = "platform-verifier")]
        if self.platform_verifier {
            let roots = self.own_roots()?;
            let provider = Arc::clone(builder.crypto_provider());
            let verifier =
                rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider);
            let verifier = verifier.map_err(|error| {
                TlsConfigError::because("the system's verifier cannot be used", error)
            })?;
            // To rustls every verifier but its own is dangerous; this one does verify.
            let builder = builder.dangerous();
            return Ok(builder.with_custom_certificate_verifier(Arc::new(verifier)));
        }
        Ok(builder.with_root_certificates(self.roots()?))
    }

    fn own_roots(&self) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
        let read: Result<Vec<_>, _> = self.roots_pem.iter().map(|pem| certificates(pem)).collect();
        Ok(read?.concat())
    }

    /// Returns the protocols that the pool above has to speak.
    pub(crate) const fn offers(&self) -> Alpn {
        self.alpn
    }

    fn roots(&self) -> Result<RootCertStore, TlsConfigError> {
        let mut roots = RootCertStore::empty();
        #[cfg(feature = "webpki-roots")]
        if self.webpki_roots {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for root in self.own_roots()? {
            roots.add(root).map_err(|error| {
                TlsConfigError::because("a root certificate cannot be used as one", error)
            })?;
        }
        if roots.is_empty() && !self.accept_invalid_certs {
            return Err(TlsConfigError::new(
                "nothing is trusted: name an authority with root_pem, or turn on webpki_roots or \
                 platform_verifier, each a feature and an option",
            ));
        }
        Ok(roots)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsConfigError::because("a certificate is not valid PEM", error))?;
    if certificates.is_empty() {
        return Err(TlsConfigError::new("the PEM text holds no certificate"));
    }
    Ok(certificates)
}

fn accept_any(config: &mut ClientConfig, provider: &CryptoProvider) {
    tracing::warn!(
        "danger_accept_invalid_certs is on: this client takes any certificate from anybody"
    );
    let verifier = AnyCertificate(provider.signature_verification_algorithms);
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(verifier));
}

impl fmt::Debug for TlsOptions {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("webpki_roots", &self.webpki_roots)
            .field("roots_pem", &self.roots_pem.len())
            .field("identity_pem", &self.identity_pem.is_some())
            .field("server_name", &self.server_name)
            .field("min_version", &self.min_version)
            .field("alpn", &self.alpn)
            .field("accept_invalid_certs", &self.accept_invalid_certs)
            .field("rustls_config", &self.config.is_some())
            .finish_non_exhaustive()
    }
}
