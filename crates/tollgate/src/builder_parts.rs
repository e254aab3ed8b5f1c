//! The parts of a client: resolver, cache, dialler, connector, TLS.

use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tollgate_cached_dns::{CachedDnsLayer, IntoAnswer};
use tollgate_core::BoxError;
use tollgate_dial::DialLayer;
use tollgate_keep_alive::Connector;
use tower_service::Service;

use crate::assemble;
use crate::builder::ClientBuilder;

/// Names and addresses.
impl ClientBuilder {
    /// The longest that a DNS answer is fresh, whatever its TTL. Default 5 min.
    ///
    /// For how long a connection outlives a change of its name, see
    /// [`guide::dns`](crate::guide::dns): connections to an address that is no longer in the answer are retired.
    pub fn dns_max_ttl(mut self, max: Duration) -> Self {
        self.settings.dns_max_ttl = Some(max);
        self
    }

    /// The options of the DNS cache. [`dns_max_ttl`](Self::dns_max_ttl) goes on top.
    pub fn dns(mut self, layer: CachedDnsLayer) -> Self {
        self.settings.dns = Some(layer);
        self
    }

    /// The options of the dialler: socket options, local address, address policy, Unix sockets. Its
    /// own timeout is off, as [`connect_timeout`](Self::connect_timeout) rules.
    pub fn dial(mut self, layer: DialLayer) -> Self {
        self.settings.dial = Some(layer);
        self
    }

    /// The resolver below the DNS cache: any `Service<Name>` whose response is an iterator of
    /// addresses, as hyper-util's resolvers have it, or an
    /// [`Answer`](tollgate_cached_dns::Answer) with a TTL.
    ///
    /// Default, with the feature `hickory`: hickory-resolver with the system's `resolv.conf` and
    /// hosts file. A missing `resolv.conf` stands for the server at 127.0.0.1, as in the C library,
    /// and never for a public resolver. Without the feature: getaddrinfo.
    pub fn resolver<R>(mut self, resolver: R) -> Self
    where
        R: Service<Name> + Clone + Send + Sync + 'static,
        R::Response: IntoAnswer,
        R::Error: Into<BoxError>,
        R::Future: Send,
    {
        self.resolver_named = true;
        self.plane = Some(assemble::over_resolver(resolver));
        self
    }

    /// A connector in the place of dial and TLS, still under the connect timeout: any
    /// `Service<Uri>` as hyper-util's client takes it. It must speak TLS itself for `https`, and its
    /// connections must state it: those of `TlsOptions::layer` do,
    /// over others goes an [`AssumeTls`](tollgate_keep_alive::AssumeTls). Where it reports that HTTP/2
    /// was negotiated, HTTP/2 is spoken.
    ///
    /// This is also the place of a proxy, for which there is no option yet: a connector that
    /// connects to it and asks for a tunnel.
    ///
    /// It excludes [`resolver`](Self::resolver), [`dns`](Self::dns), [`dial`](Self::dial) and `tls`,
    /// which would have no effect.
    pub fn connector<C>(mut self, connector: C) -> Self
    where
        C: Connector,
    {
        self.connector_named = true;
        self.plane = Some(assemble::over_connector(connector));
        self
    }

    /// Reports each response body that is held and not read for so long: once, as a warning of
    /// `tracing` with target `tollgate::leak`, with origin, method and age, never a path. Default: none
    /// is looked for.
    ///
    /// It costs each exchange an allocation and an entry in a table.
    pub const fn leak_after(mut self, limit: Duration) -> Self {
        self.settings.watched.leak_after = Some(limit);
        self
    }

    /// Returns true if a call made inside a [`scope`](crate::scope) fails with
    /// [`Deadlock`](crate::ErrorKind::Deadlock), within a second, when all connections of its
    /// origin are held by scopes that wait for another one there. Default: no, and such calls time
    /// out in the queue.
    ///
    /// It costs each exchange an allocation and an entry in a table.
    pub const fn detect_deadlocks(mut self, on: bool) -> Self {
        self.settings.watched.deadlocks = on;
        self
    }

    /// Trusted roots, client certificate and the like for `https`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, options: crate::tls::TlsOptions) -> Self {
        self.settings.tls = Some(options);
        self
    }
}
