//! The connect budget, which one origin may have of its own.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use tollgate_connect_timeout::{ConnectTimeoutFuture, ConnectTimeoutLayer};
use tollgate_core::{BoxError, Origin};
use tower_layer::Layer;
use tower_service::Service;

/// Which budget a connect has.
#[derive(Clone, Debug)]
pub(crate) struct Budgets {
    pub(crate) usual: ConnectTimeoutLayer,
    pub(crate) own: Arc<[(Origin, ConnectTimeoutLayer)]>,
}

impl Budgets {
    fn of(&self, uri: &Uri) -> ConnectTimeoutLayer {
        // Without options of single origins no origin is made of the URI, which allocates.
        if self.own.is_empty() {
            return self.usual;
        }
        let origin = Origin::from_uri(uri);
        let own = self
            .own
            .iter()
            .find(|(named, _)| Some(named) == origin.as_ref());
        own.map_or(self.usual, |(_, budget)| *budget)
    }
}

impl<C> Layer<C> for Budgets {
    type Service = Budgeted<C>;

    fn layer(&self, connector: C) -> Budgeted<C> {
        Budgeted {
            connector,
            budgets: self.clone(),
        }
    }
}

/// A connector under the budget of the origin it connects to.
#[derive(Clone, Debug)]
pub(crate) struct Budgeted<C> {
    connector: C,
    budgets: Budgets,
}

impl<C> Service<Uri> for Budgeted<C>
where
    C: Service<Uri> + Clone,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = ConnectTimeoutFuture<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // The one that was made ready is the one that is called.
        let spare = self.connector.clone();
        let ready = mem::replace(&mut self.connector, spare);
        self.budgets.of(&uri).layer(ready).call(uri)
    }
}
