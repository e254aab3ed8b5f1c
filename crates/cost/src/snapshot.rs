//! A client with many origins, looked at.

use std::hint::black_box;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tollgate::Client;
use tower::service_fn;

/// Each has a connection: as many as a process may have by default, on either side.
pub(crate) const ORIGINS: u32 = 400;

/// Sends a request to each origin, all of which are at `addr`, and takes that many snapshots.
pub(crate) async fn take(addr: &str, snapshots: u32) {
    let addr: std::net::SocketAddr = addr.parse().expect("an address");
    let dial = service_fn(move |_: http::Uri| async move {
        Ok::<_, std::io::Error>(TokioIo::new(TcpStream::connect(addr).await?))
    });
    let client = Client::builder().connector(dial).build();
    let client = client.expect("the defaults make sense");
    for n in 0..ORIGINS {
        let uri = format!("http://upstream-{n}.internal/fast");
        let request = Request::get(uri).body(Empty::<Bytes>::new());
        let response = client.request(request.expect("a request")).await;
        crate::clients::read(response.expect("is answered").into_body()).await;
    }
    for _ in 0..snapshots {
        let snapshot = black_box(client.snapshot());
        assert_eq!(snapshot.origins.len(), ORIGINS as usize);
    }
}
