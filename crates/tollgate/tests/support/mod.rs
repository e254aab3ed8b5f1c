//! What the tests share.
#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod words;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use http_body_util::BodyExt;
use tollgate::{Body, Client, ClientBuilder, Event, Observer};

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

/// Counts connections opened.
#[derive(Debug, Default)]
pub(crate) struct Opened(AtomicUsize);

impl Opened {
    pub(crate) fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Observer for Opened {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::Opened { .. } = event {
            self.0.fetch_add(1, SeqCst);
        }
    }
}
