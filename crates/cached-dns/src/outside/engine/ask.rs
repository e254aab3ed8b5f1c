//! A backend behind one type.

use futures_util::future::{BoxFuture, poll_fn};
use hyper_util::client::legacy::connect::dns::Name;
use tollgate_core::BoxError;
use tower_service::Service;

use crate::addresses::answer::{Answer, IntoAnswer};
use crate::values::error::LookupError;

/// A backend, its types erased, so that the handle and the future have none.
pub(crate) trait Ask: Send + Sync {
    fn ask(&self, name: &str) -> BoxFuture<'static, Result<Answer, LookupError>>;
}

impl<B> Ask for B
where
    B: Service<Name> + Clone + Send + Sync + 'static,
    B::Response: IntoAnswer,
    B::Error: Into<BoxError>,
    B::Future: Send,
{
    fn ask(&self, name: &str) -> BoxFuture<'static, Result<Answer, LookupError>> {
        let (mut backend, name) = (self.clone(), name.parse::<Name>());
        Box::pin(async move {
            let name = name.map_err(LookupError::from_backend)?;
            // On the clone that is called: tower's readiness does not pass from one to another.
            let ready = poll_fn(|cx| backend.poll_ready(cx)).await;
            ready.map_err(LookupError::from_backend)?;
            match backend.call(name).await {
                Ok(response) => Ok(response.into_answer()),
                Err(error) => Err(LookupError::from_backend(error)),
            }
        })
    }
}
