//! Promises of the types, at compile time.

use bytes::Bytes;
use http::Request;
use http_body_util::{Empty, Full};
use tollgate::{Client, OriginClient};
use tower::Service;

#[test]
fn the_contract_holds_at_compile_time() {
    fn clone_send_sync<T: Clone + Send + Sync + 'static>() {}
    fn service<B>()
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tollgate::BoxError>,
        Client:
            Service<Request<B>, Response = http::Response<tollgate::Body>, Error = tollgate::Error>,
    {
    }
    // What tonic's generated clients want of a transport: `GreeterClient::with_origin(client, uri)`.
    fn transport<T>()
    where
        T: tonic::client::GrpcService<tonic::body::Body> + Clone + Send + 'static,
        T::Error: Into<tollgate::BoxError>,
        T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
        <T::ResponseBody as http_body::Body>::Error: Into<tollgate::BoxError> + Send,
        T::Future: Send,
    {
    }
    fn send<T: Send + 'static>() {}
    fn error<T: std::error::Error + Send + Sync + 'static>() {}

    transport::<Client>();
    transport::<OriginClient>();
    clone_send_sync::<Client>();
    clone_send_sync::<OriginClient>();
    clone_send_sync::<tollgate::ClientBuilder>();
    send::<tollgate::ResponseFuture>();
    send::<tollgate::Body>();
    error::<tollgate::Error>();
    error::<tollgate::BuildError>();
    service::<Empty<Bytes>>();
    service::<Full<Bytes>>();
    service::<http_body_util::combinators::BoxBody<Bytes, tollgate::BoxError>>();
    service::<http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>>();
    service::<tollgate::Body>();
}
