//! A client without TLS speaks no `https`, instead of speaking it in the clear: one that is built
//! without the feature, and one without roots to trust.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use pin_project_lite::pin_project;
use tollgate_core::{BoxError, Classified, ConnectErrorKind};
use tower_service::Service;

/// Why there is no TLS.
#[derive(Clone, Debug)]
pub(crate) enum NoTls {
    #[cfg(not(feature = "tls"))]
    Feature,
    #[cfg(feature = "tls")]
    Untrusting(Arc<crate::tls::TlsConfigError>),
}

/// A connector that refuses `https`.
#[derive(Clone, Debug)]
pub(crate) struct Plaintext<C> {
    connector: C,
    why: NoTls,
}

impl<C> Plaintext<C> {
    pub(crate) const fn new(connector: C, why: NoTls) -> Self {
        Self { connector, why }
    }
}

impl<C> Service<Uri> for Plaintext<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Connecting<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // Only what is `http` to the letter: `HTTPS`, made by hand, is not `https` and would go out
        // in clear.
        if uri.scheme_str() == Some("http") {
            let dialling = self.connector.call(uri);
            Connecting::Dialling { dialling }
        } else {
            let why = self.why.clone();
            Connecting::Refused { why }
        }
    }
}

pin_project! {
    #[project = ConnectingProj]
    pub(crate) enum Connecting<F> {
        Dialling { #[pin] dialling: F },
        Refused { why: NoTls },
    }
}

impl<F, T, E> Future for Connecting<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ConnectingProj::Dialling { dialling } => dialling.poll(cx).map_err(Into::into),
            ConnectingProj::Refused { why } => {
                let refused = Classified::new(ConnectErrorKind::Tls).because(why.clone());
                Poll::Ready(Err(Box::new(refused)))
            }
        }
    }
}

impl fmt::Display for NoTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this client speaks only http: ")?;
        f.write_str(match self {
            #[cfg(not(feature = "tls"))]
            Self::Feature => "it is built without the feature `tls`; turn it on for https",
            #[cfg(feature = "tls")]
            Self::Untrusting(_) => {
                "it trusts no server; turn on the feature `webpki-roots`, or say whom to trust with \
                 ClientBuilder::tls"
            }
        })
    }
}

impl Error for NoTls {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            #[cfg(not(feature = "tls"))]
            Self::Feature => None,
            #[cfg(feature = "tls")]
            Self::Untrusting(error) => Some(&**error),
        }
    }
}
