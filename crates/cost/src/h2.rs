//! The HTTP/2 side: its upstream, and hyper alone.

use std::convert::Infallible;
use std::io::Write;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

/// Answers every request with 256 bytes.
pub(crate) fn serve() {
    crate::clients::runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let addr = listener.local_addr().expect("is bound");
        writeln!(std::io::stdout(), "{addr}").ok();
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).ok();
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
}

/// The same fields as the other upstream's.
async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(&[b'x'; 256])));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let date = HeaderValue::from_static("Tue, 24 Nov 2026 04:00:00 GMT");
    headers.insert(DATE, date);
    Ok(response)
}

/// hyper alone, on one connection.
pub(crate) async fn bare(addr: &str, uri: &Uri, requests: u32) {
    let stream = TcpStream::connect(addr).await.expect("connects");
    stream.set_nodelay(true).expect("is TCP");
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .expect("needs no bytes");
    tokio::spawn(connection);
    for _ in 0..requests {
        sender.ready().await.expect("stays open");
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri.clone();
        let response = sender.send_request(request).await.expect("is answered");
        crate::clients::read(response.into_body()).await;
    }
}
