//! The connectors that a pool dials with.

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tollgate_core::BoxError;
use tower_service::Service;

/// A connector that a pool can dial with: a `Service<Uri>` whose response is a connection, as
/// hyper-util's client takes it.
///
/// An alias: it is implemented for every service that meets its bounds, and for nothing else.
pub trait Connector:
    Service<
        Uri,
        Response: Read + Write + Connection + Unpin + Send + 'static,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<C> Connector for C
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
}
