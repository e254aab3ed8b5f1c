//! Why a handshake failed.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use tollgate_core::error::find;
use tollgate_core::{BoxError, Classified, ConnectErrorKind};

use crate::tls::alpn::Alpn;

/// A TLS handshake failed.
///
/// Its chain of sources holds a [`Classified`] of kind [`Tls`](ConnectErrorKind::Tls) and ends in
/// rustls's error, or in the `io::Error` of the connection.
#[derive(Debug)]
pub struct TlsError {
    failure: TlsFailure,
    host: Box<str>,
    elapsed: Duration,
    offered: Alpn,
    cause: Classified,
}

/// The peer knows no ALPN, and HTTP/2 alone was offered.
#[derive(Debug)]
struct NoAlpn;

impl fmt::Display for NoAlpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server ended the handshake without a word about ALPN")
    }
}

impl Error for NoAlpn {}

/// In which way a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The certificate is for another host.
    WrongHost,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate was not issued by a trusted authority; it may be self-signed.
    UnknownIssuer,
    /// The certificate, or the handshake, is not signed by the key that it should be.
    BadSignature,
    /// The certificate was revoked.
    Revoked,
    /// The certificate is unusable in another way.
    BadCertificate,
    /// The peer does not want our certificate, or wants one and got none.
    OurCertificate,
    /// The two have no protocol version or cipher suite in common.
    Incompatible,
    /// The two have no application protocol in common, which ALPN agrees on.
    NoCommonProtocol,
    /// The peer's bytes are not TLS.
    NotTls,
    /// The peer refused the handshake with an alert.
    Refused,
    /// The connection ended in the middle of the handshake.
    Closed,
    /// The host cannot be the name of a TLS server.
    InvalidName,
    /// Anything else.
    Other,
}

impl TlsError {
    /// HTTP/2 alone was offered, and the server chose nothing.
    pub(crate) fn no_alpn(host: &str, elapsed: Duration, offered: Alpn) -> Self {
        let error = Self::new(host, elapsed, NoAlpn.into(), offered);
        let failure = TlsFailure::NoCommonProtocol;
        Self { failure, ..error }
    }

    pub(crate) fn new(host: &str, elapsed: Duration, error: BoxError, offered: Alpn) -> Self {
        Self {
            failure: TlsFailure::of(&*error),
            host: host.into(),
            elapsed,
            offered,
            cause: Classified::new(ConnectErrorKind::Tls).because(error),
        }
    }

    /// In which way it failed.
    pub const fn failure(&self) -> TlsFailure {
        self.failure
    }

    /// The host it was with, as it stands in the URI.
    pub const fn host(&self) -> &str {
        &self.host
    }

    /// Returns the time that the handshake took to fail.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TLS handshake with {} failed: {}",
            self.host, self.failure
        )?;
        if self.failure == TlsFailure::NoCommonProtocol {
            write!(f, "; offered: {}", self.offered.offer())?;
        }
        Ok(())
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl TlsFailure {
    /// Returns true of what another attempt would meet again, until somebody changes a certificate,
    /// a clock or an option.
    pub const fn is_for_good(self) -> bool {
        !matches!(self, Self::Refused | Self::Closed | Self::Other)
    }

    fn of(error: &(dyn Error + 'static)) -> Self {
        if find::<rustls::pki_types::InvalidDnsNameError>(error).is_some() {
            return Self::InvalidName;
        }
        // Before the `io::Error`, in which rustls' own is wrapped.
        match find::<rustls::Error>(error) {
            Some(error) => Self::of_rustls(error),
            None if find::<io::Error>(error).is_some() => Self::Closed,
            None => Self::Other,
        }
    }

    fn of_rustls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::AlertReceived(_) if is_about_our_certificate(error) => {
                Self::OurCertificate
            }
            // The alerts for versions and suites that the peer does not take (RFC 8446, section
            // 6.2).
            rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(
                AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity
                | AlertDescription::HandshakeFailure,
            ) => Self::Incompatible,
            // RFC 7301, section 3.2.
            rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
                Self::NoCommonProtocol
            }
            rustls::Error::AlertReceived(_) => Self::Refused,
            rustls::Error::InvalidMessage(_)
            | rustls::Error::InappropriateMessage { .. }
            | rustls::Error::InappropriateHandshakeMessage { .. }
            | rustls::Error::PeerMisbehaved(_)
            | rustls::Error::PeerSentOversizedRecord => Self::NotTls,
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongHost
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::BadSignature => Self::BadSignature,
            CertificateError::Revoked => Self::Revoked,
            // A self-signed certificate that is marked as an authority.
            CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => {
                Self::UnknownIssuer
            }
            _ => Self::BadCertificate,
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongHost => {
                "the certificate is for another host; use the name it was issued for, or \
                 TlsOptions::server_name"
            }
            Self::Expired => "the certificate has expired; renew it, or set the clock right",
            Self::NotYetValid => "the certificate is not valid yet; set the clock right",
            Self::UnknownIssuer => {
                "the certificate is self-signed or its issuer is not trusted; add the issuer with \
                 TlsOptions::root_pem"
            }
            Self::BadSignature => {
                "the certificate is signed by another key than the one trusted; if its authority was \
                 made anew under the old name, add the new one with TlsOptions::root_pem"
            }
            Self::Revoked => "the certificate was revoked",
            Self::BadCertificate => "the certificate cannot be used",
            Self::OurCertificate => {
                "the server refused the client certificate, or wants one; see \
                 TlsOptions::identity_pem"
            }
            Self::Incompatible => "no protocol version or cipher suite in common",
            Self::NoCommonProtocol => {
                "the server speaks none of the protocols offered by ALPN; offer another with TlsOptions::alpn, \
                 or leave Protocol::Http2 out"
            }
            Self::NotTls => "what the server sends is not TLS; check the port and the scheme",
            Self::Refused => "the server refused it",
            Self::Closed => "the connection ended in the middle of it",
            Self::InvalidName => "the host cannot be the name of a TLS server",
            Self::Other => "its cause says why",
        })
    }
}

/// Returns true if the peer complains of the certificate that it got from us, or did not get.
pub(crate) fn is_about_our_certificate(error: &rustls::Error) -> bool {
    // RFC 8446, section 6.2. `access_denied` is about one that is valid, and not wanted.
    matches!(
        error,
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        )
    )
}

/// A [`TlsOptions`](crate::tls::TlsOptions) cannot be used.
#[derive(Debug)]
pub struct TlsConfigError {
    what: &'static str,
    source: Option<BoxError>,
}

impl TlsConfigError {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    pub(crate) fn because(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self {
            what,
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl Error for TlsConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
