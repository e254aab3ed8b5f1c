//! Servers of the greeter: tonic's own over plain TCP, and hyper's over TLS.

use std::net::SocketAddr;

use http::Uri;
use hyper::service::service_fn;
use tokio::task::JoinHandle;
use tollgate::tls::{Alpn, TlsOptions};
use tollgate::{Client, ClientBuilder, OriginStats, Protocol};
use tollgate_testing::tls::{Authority, Server};
use tollgate_testing::{Listener, eventually, http2};
use tonic::body::Body;
use tonic::transport;
use tonic::transport::server::TcpIncoming;
use tower::Service;

use crate::greeter::{Greeter, GreeterClient};

/// A greeter that is served; stops when dropped.
pub(crate) struct Upstream {
    pub(crate) greeter: Greeter,
    pub(crate) uri: Uri,
    _serving: Serving,
    authority: Option<Authority>,
}

enum Serving {
    Plain(JoinHandle<()>),
    #[expect(dead_code, reason = "kept, as it stops when dropped")]
    Tls(Listener),
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Self::Plain(task) = self {
            task.abort();
        }
    }
}

impl Upstream {
    /// tonic's server, h2c.
    #[expect(clippy::unused_async, reason = "it needs the runtime it is awaited in")]
    pub(crate) async fn plain() -> Self {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = incoming.local_addr().unwrap();
        let greeter = Greeter::default();
        let server = transport::Server::builder().add_service(greeter.clone());
        let server = server.serve_with_incoming(incoming);
        let server = tokio::spawn(async { server.await.unwrap() });
        Self {
            greeter,
            uri: format!("http://{addr}").parse().unwrap(),
            _serving: Serving::Plain(server),
            authority: None,
        }
    }

    /// Over TLS, where `h2` has to be agreed on by ALPN.
    pub(crate) fn tls() -> Self {
        let authority = Authority::new();
        let greeter = Greeter::default();
        let service = greeter.clone();
        let serving = Server::new(authority.issue("localhost")).serving(move |stream| {
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let service = service.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let mut greeter = service.clone();
                async move { greeter.call(request.map(Body::new)).await }
            });
            http2::serve(stream, service)
        });
        Self {
            greeter,
            uri: format!("https://localhost:{}", serving.addr().port())
                .parse()
                .unwrap(),
            _serving: Serving::Tls(serving),
            authority: Some(authority),
        }
    }

    pub(crate) fn client_with(&self, f: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        let builder = match &self.authority {
            None => Client::builder().protocol(Protocol::Http2),
            Some(authority) => Client::builder().tls(
                TlsOptions::new()
                    .webpki_roots(false)
                    .root_pem(authority.pem())
                    .alpn(Alpn::Http2),
            ),
        };
        f(builder).build().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(|builder| builder)
    }

    pub(crate) fn greeter_over(&self, client: &Client) -> GreeterClient<Client> {
        GreeterClient::with_origin(client.clone(), self.uri.clone())
    }

    pub(crate) fn stats(&self, client: &Client) -> OriginStats {
        client.stats(&self.uri.to_string()).unwrap()
    }

    /// Waits until every gauge of the client and the server is back at zero, and its counters add up.
    pub(crate) async fn at_rest(&self, client: &Client) {
        let gauges = || {
            let stats = self.stats(client);
            [
                stats.in_flight,
                stats.active,
                stats.queued,
                stats.connecting,
                self.greeter.live(),
            ]
        };
        eventually(|| gauges() == [0; 5]).await;
        let stats = self.stats(client);
        let ends = stats.granted + stats.refused + stats.failed + stats.timed_out + stats.cancelled;
        assert_eq!(stats.requests, ends, "{stats:?}");
    }
}
