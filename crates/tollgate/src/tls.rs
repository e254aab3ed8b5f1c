//! TLS for `https`, by rustls.
//!
//! [`TlsOptions`] is what [`ClientBuilder::tls`](crate::ClientBuilder::tls) takes; its
//! [`layer`](TlsOptions::layer) puts the same over any other connector. The handshake reports
//! [`Phase::Tls`](tollgate_core::Phase::Tls) to the connect timeout above it, its length is in the
//! connection's [`DialInfo`](tollgate_core::DialInfo), and its failure is a [`TlsError`] that names
//! what to change.
//!
//! One client has one TLS identity: connections are pooled by origin, so two identities are two
//! clients. By ALPN a client offers `http/1.1`, unless [`TlsOptions::alpn`] offers HTTP/2 too. Sessions
//! are resumed: the second handshake with a server is a short one.

mod alpn;
mod error;
mod options;
mod service;
mod stream;
mod verify;
mod version;

pub use alpn::Alpn;
pub use error::{TlsConfigError, TlsError, TlsFailure};
pub use options::TlsOptions;
pub use service::{Tls, TlsFuture, TlsLayer};
pub use stream::TlsStream;
pub use version::TlsVersion;

pub(crate) use error::is_about_our_certificate;
