//! The two clients that a case is played against, as one type.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tollgate::tls::{Alpn, TlsOptions};
use tollgate_core::BoxError;
use tollgate_dial::DialLayer;
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer, Protocol};
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt, service_fn};

use crate::script::{Call, Case, Upload, Version};
use crate::server::Server;

pub(crate) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;
pub(crate) type Client = BoxCloneService<Request<AnyBody>, Response<AnyBody>, BoxError>;

/// The pool over our dial, by default as it comes, but for the cap.
pub(crate) fn ours(case: &Case, server: &Server) -> (Client, KeepAlive) {
    let loopback = service_fn(|_: Name| async {
        Ok::<_, Infallible>(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 0))))
    });
    let protocol = match case.version {
        _ if case.tls => Protocol::Auto,
        Version::Http1 => Protocol::Http1,
        Version::Http2 => Protocol::Http2,
    };
    let cap = NonZeroUsize::new(case.cap).unwrap();
    let layer = KeepAliveLayer::new()
        .max_connections_per_origin(cap)
        .protocol(protocol);
    let layer = (case.options)(layer);
    let dial = DialLayer::new().layer(loopback);
    let pool = match &server.trust {
        Some(pem) => {
            let tls = TlsOptions::new().root_pem(pem.clone()).alpn(Alpn::Auto);
            layer.layer(tls.layer().unwrap().layer(dial))
        }
        None => layer.layer(dial),
    };
    let client = ServiceExt::<Request<AnyBody>>::boxed_clone(pool.clone())
        .map_response(|response| response.map(|body| body.map_err(Into::into).boxed_unsync()))
        .map_err(Into::into);
    (BoxCloneService::new(client), pool)
}

/// hyper-util's client as it comes.
pub(crate) fn theirs(case: &Case) -> Client {
    let client: legacy::Client<_, AnyBody> = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http2_only(case.version == Version::Http2)
        .build(HttpConnector::new());
    let client = client
        .map_response(|response| response.map(|body| body.map_err(Into::into).boxed_unsync()))
        .map_err(Into::into);
    BoxCloneService::new(client)
}

/// The request of a call.
pub(crate) fn request(call: &Call, server: &Server) -> Request<AnyBody> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(server.uri(call.path));
    for (name, value) in &call.headers {
        request = request.header(*name, *value);
    }
    request.body(body(&call.upload)).unwrap()
}

fn body(upload: &Upload) -> AnyBody {
    let never = |error: Infallible| match error {};
    match upload.clone() {
        Upload::Empty => Empty::new().map_err(never).boxed_unsync(),
        Upload::Whole(bytes) => Full::new(bytes).map_err(never).boxed_unsync(),
        Upload::Chunks(chunks) => stream(futures_util::stream::iter(chunks)),
        Upload::Endless(size) => {
            let chunk = Bytes::from(vec![b'x'; size]);
            stream(futures_util::stream::repeat(chunk))
        }
        Upload::Stuck(first) => {
            let first = futures_util::stream::once(std::future::ready(first));
            stream(futures_util::StreamExt::chain(
                first,
                futures_util::stream::pending(),
            ))
        }
        Upload::Panics => Panics.boxed_unsync(),
        Upload::Fails(first) => {
            let error = BoxError::from("the caller's own error");
            let frames = futures_util::stream::iter([Ok(Frame::data(first)), Err(error)]);
            BodyExt::boxed_unsync(StreamBody::new(frames))
        }
    }
}

fn stream(chunks: impl futures_util::Stream<Item = Bytes> + Send + 'static) -> AnyBody {
    let frames = futures_util::StreamExt::map(chunks, |chunk| Ok(Frame::data(chunk)));
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// A body that panics when it is polled.
struct Panics;

impl Body for Panics {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("the request's body panics, as the case wants");
    }
}
