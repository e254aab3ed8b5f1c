//! What the tests share.
#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

pub(crate) mod log;
pub(crate) mod words;

use std::net::SocketAddr;

use http_body_util::BodyExt;
use tollgate::{Body, Client, ClientBuilder};

#[cfg(feature = "hickory")]
pub(crate) mod cached {
    use tollgate::cached_dns::Hickory;
    use tollgate_testing::DnsServer;

    /// A resolver that asks this server and nobody else.
    pub(crate) fn hickory(dns: &DnsServer) -> Hickory {
        Hickory::with_nameservers([dns.addr()]).unwrap()
    }
}

/// A client whose options the test sets.
pub(crate) fn client_with(options: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    options(Client::builder()).build().unwrap()
}

/// Options that trust somebody, whatever the features: for servers that never get to show themselves.
#[cfg(feature = "tls")]
pub(crate) fn trusting_one() -> tollgate::tls::TlsOptions {
    let authority = tollgate_testing::tls::Authority::new();
    tollgate::tls::TlsOptions::new().root_pem(authority.pem())
}

/// Puts a connector to `addr` into a builder, where somebody accepts and closes: it hands a connection
/// over when its end is there to be read.
pub(crate) fn over_dead(builder: ClientBuilder, addr: SocketAddr) -> ClientBuilder {
    builder.connector(tower::service_fn(move |_: http::Uri| async move {
        let stream = tokio::net::TcpStream::connect(addr).await?;
        stream.readable().await?;
        Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
    }))
}

pub(crate) async fn text(response: http::Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
