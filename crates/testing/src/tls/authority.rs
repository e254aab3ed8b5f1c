//! Certificates.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

const VALID: &str = "parameters of a test's own are valid";

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
#[non_exhaustive]
pub struct Identity {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// An authority with a name of its own.
    pub fn new() -> Self {
        // An issuer is found by its name: two of one name would fail as a bad signature, not as
        // unknown.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self::named(&format!("authority {}", NEXT.fetch_add(1, SeqCst)))
    }

    /// An authority of this name.
    ///
    /// # Panics
    ///
    /// If no key can be made.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, key()).expect(VALID))
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for a host name.
    ///
    /// # Panics
    ///
    /// If `name` is no host name.
    pub fn issue(&self, name: &str) -> Identity {
        self.sign(&params(name))
    }

    /// Issues a certificate that has expired.
    ///
    /// # Panics
    ///
    /// If `name` is no host name.
    pub fn issue_expired(&self, name: &str) -> Identity {
        let mut params = params(name);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = key();
        let cert = params.signed_by(&key, &self.0).expect(VALID);
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes a certificate that signs itself.
///
/// # Panics
///
/// If `name` is no host name.
pub fn self_signed(name: &str) -> Identity {
    let key = key();
    let cert = params(name).self_signed(&key).expect(VALID);
    Identity {
        cert: cert.pem(),
        key: key.serialize_pem(),
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has random bytes")
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).expect("a host name")
}
