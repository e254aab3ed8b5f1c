//! A client built without TLS speaks no `https`, instead of speaking it in the clear.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use pin_project_lite::pin_project;
use tollgate_core::{BoxError, Classified, ConnectErrorKind};
use tower_service::Service;

/// A connector that refuses `https`.
#[derive(Clone, Debug)]
pub(crate) struct Plaintext<C> {
    connector: C,
}

impl<C> Plaintext<C> {
    pub(crate) const fn new(connector: C) -> Self {
        Self { connector }
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
        let dialling = (uri.scheme_str() == Some("http")).then(|| self.connector.call(uri));
        Connecting { dialling }
    }
}

pin_project! {
    pub(crate) struct Connecting<F> {
        #[pin]
        dialling: Option<F>,
    }
}

impl<F, T, E> Future for Connecting<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().dialling.as_pin_mut() {
            Some(dialling) => dialling.poll(cx).map_err(Into::into),
            None => Poll::Ready(Err(Box::new(
                Classified::new(ConnectErrorKind::Tls).because(
                    "this client was built without the feature `tls` and speaks only http",
                ),
            ))),
        }
    }
}
