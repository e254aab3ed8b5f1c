//! A request that goes to another origin than its URI names.

use http::{Request, Uri};
use tollgate_core::Origin;

use crate::error::Error;

/// As an extension of a request to a [`Client`](crate::Client): it goes to this origin whatever its URI,
/// of which the path and query count. For canaries, shards, and requests that carry only a path.
///
/// Pool, name, TLS name and the limits of [`ClientBuilder::origin`](crate::ClientBuilder::origin) are
/// those of this origin, and so is `Host`, unless the request has one. An
/// [`OriginClient`](crate::OriginClient) has an origin and does not look at this.
///
/// ```
/// # fn main() -> Result<(), tollgate::Error> {
/// use tollgate::OriginOverride;
///
/// let canary = OriginOverride::new("https://canary.billing.internal")?;
/// let request = http::Request::get("https://billing.internal/v1/invoices").extension(canary);
/// # let _ = request;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginOverride(Uri);

impl OriginOverride {
    /// To this origin, such as `https://canary.billing.internal`.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest`](crate::ErrorKind::InvalidRequest) if it is none.
    pub fn new(origin: &str) -> Result<Self, Error> {
        let invalid = |error| Error::invalid_uri(error);
        let _origin: Origin = origin.parse().map_err(|error| invalid(Box::new(error)))?;
        let uri = origin.parse().map_err(|error| invalid(Box::new(error)))?;
        Ok(Self(uri))
    }

    /// Points the request at the origin that it asks for, if it asks for one.
    pub(crate) fn apply<B>(request: &mut Request<B>) {
        let Some(Self(to)) = request.extensions().get() else {
            return;
        };
        let mut parts = to.clone().into_parts();
        let path = request.uri().path_and_query().cloned();
        // The request's own; a path in the override counts only where there is none.
        parts.path_and_query = path.or(parts.path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}
