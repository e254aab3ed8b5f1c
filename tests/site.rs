//! A client over TLS with a resolver of its own: one server, and names that lead to it or nowhere.

use tollgate::cached_dns::Hickory;
use tollgate::tls::TlsOptions;
use tollgate::{Client, ClientBuilder};
use tollgate_testing::dns::Answer;
use tollgate_testing::tls::{Authority, Server};
use tollgate_testing::{DnsServer, Listener};

pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) server: Listener,
    _dns: DnsServer,
}

impl Site {
    /// `billing.internal` is the server, `mallory.internal` is it under a name that its certificate
    /// has not, `gone.internal` is nowhere. The client has one connection, and one may wait for it.
    pub(crate) async fn start(options: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let authority = Authority::new();
        let server = Server::new(authority.issue("billing.internal"));
        let dns = DnsServer::start().await;
        for name in ["billing.internal", "mallory.internal"] {
            dns.set(name, Answer::addrs([[127, 0, 0, 1].into()]));
        }
        dns.set("gone.internal", Answer::nxdomain());
        let trust = TlsOptions::new().webpki_roots(false);
        let client = Client::builder()
            .resolver(Hickory::with_nameservers([dns.addr()]).unwrap())
            .tls(trust.root_pem(authority.pem()))
            .max_connections_per_origin(1)
            .max_waiting(1);
        Self {
            client: options(client).build().unwrap(),
            server: server.start(),
            _dns: dns,
        }
    }
}
