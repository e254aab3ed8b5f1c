//! The options of [`Hickory`].

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::NameServerConfig;
use tollgate_core::BoxError;

use super::setup::{Setup, SystemOptions};
use super::watched::Watched;
use super::{Hickory, Options, Shared, Source};
use crate::hosts::StaticHosts;

/// One server's time, resends of lost packets included; glibc and hickory give 5 s.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// When the next server is asked without an answer from the one before.
const HEDGE: Duration = Duration::from_millis(300);
/// RFC 8305 §3.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// RFC 8305 §3 keeps reading answers for a while to fill the cache; `HEv3` says about 1 s.
const LATE_LIMIT: Duration = Duration::from_secs(2);

/// Makes a [`Hickory`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct HickoryBuilder {
    options: Options,
    system: SystemOptions,
    servers: Option<Vec<NameServerConfig>>,
    search: Vec<String>,
    ndots: usize,
    resolv_conf: PathBuf,
    hosts_file: Option<PathBuf>,
}

impl HickoryBuilder {
    pub(super) fn new() -> Self {
        let hosts = if cfg!(windows) {
            r"C:\Windows\System32\drivers\etc\hosts"
        } else {
            "/etc/hosts"
        };
        Self {
            options: Options {
                timeout: TIMEOUT,
                hedge: HEDGE,
                resolution_delay: RESOLUTION_DELAY,
                late_limit: LATE_LIMIT,
                absolute_names: false,
                case_randomization: false,
                ipv6_first: None,
            },
            system: SystemOptions { port: 53 },
            servers: None,
            search: Vec::new(),
            ndots: 1,
            resolv_conf: "/etc/resolv.conf".into(),
            hosts_file: Some(hosts.into()),
        }
    }

    #[cfg(test)]
    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Asks these instead of the system's, in this order, over UDP and TCP.
    pub fn nameservers(self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.nameserver_configs(servers.into_iter().map(super::server::udp_and_tcp))
    }

    /// Asks these instead of the system's: for DNS over TLS, which needs hickory's feature for it.
    /// The type is `hickory-resolver`'s own and changes with its versions.
    pub fn nameserver_configs(
        mut self,
        servers: impl IntoIterator<Item = NameServerConfig>,
    ) -> Self {
        self.servers = Some(servers.into_iter().collect());
        self
    }

    /// The search list for explicit [`nameservers`](Self::nameservers): none.
    pub fn search<S: Into<String>>(mut self, domains: impl IntoIterator<Item = S>) -> Self {
        self.search = domains.into_iter().map(Into::into).collect();
        self
    }

    /// For explicit [`nameservers`](Self::nameservers): a name with fewer dots than this is tried
    /// with the search list first. 1.
    pub const fn ndots(mut self, dots: usize) -> Self {
        self.ndots = dots;
        self
    }

    /// Reads the system's nameservers from this file. Looked at for changes every 5 s at most, when
    /// a name is asked for; a file that is unreadable or names no server changes nothing. Linux and
    /// the BSDs only.
    pub fn resolv_conf(mut self, path: impl Into<PathBuf>) -> Self {
        self.resolv_conf = path.into();
        self
    }

    /// The port of the system's nameservers, which `resolv.conf` cannot say: 53.
    pub const fn system_port(mut self, port: u16) -> Self {
        self.system.port = port;
        self
    }

    /// The hosts file, watched as `resolv.conf` is; `None` for none.
    pub fn hosts_file(mut self, path: Option<PathBuf>) -> Self {
        self.hosts_file = path;
        self
    }

    /// Sends every name with a dot as it is, without the search list: with the `ndots:5` of
    /// Kubernetes and four search domains that is 2 packets for an outside name, not 10. No.
    pub const fn absolute_names(mut self, absolute: bool) -> Self {
        self.options.absolute_names = absolute;
        self
    }

    /// How long one server has for one query, lost packets included: 1.5 s. A truncated answer has
    /// as long again over TCP.
    pub const fn timeout(mut self, longest: Duration) -> Self {
        self.options.timeout = longest;
        self
    }

    /// How long to wait for a server before the next one is asked too: 300 ms.
    pub const fn hedge(mut self, wait: Duration) -> Self {
        self.options.hedge = wait;
        self
    }

    /// How long to wait for the second address family once the first one is there: 50 ms. A dial takes
    /// it off its own.
    pub const fn resolution_delay(mut self, wait: Duration) -> Self {
        self.options.resolution_delay = wait;
        self
    }

    /// Randomizes the case of letters in queries and insists on it in answers (0x20), against
    /// spoofed answers; some servers cannot do it. No.
    pub const fn case_randomization(mut self, randomize: bool) -> Self {
        self.options.case_randomization = randomize;
        self
    }

    /// Whether IPv6 addresses come first: if this machine has a route for them, which is found out
    /// without sending anything and looked at again every 10 s.
    pub const fn ipv6_first(mut self, first: bool) -> Self {
        self.options.ipv6_first = Some(first);
        self
    }

    /// Reads the system's configuration, if it is to be used.
    ///
    /// # Errors
    ///
    /// If it cannot be read or names no nameserver, or if a search domain is not a name.
    pub fn build(self) -> Result<Hickory, HickoryError> {
        let options = self.options;
        let setup = match self.servers {
            Some(servers) => {
                let setup = Setup::new(servers, &self.search, self.ndots, &options)?;
                Source::Fixed(Arc::new(setup))
            }
            None => Setup::of_system(self.resolv_conf, &self.system, &options)?,
        };
        let hosts = self
            .hosts_file
            .map(|path| Watched::lazy(path, StaticHosts::new(), parse_hosts));
        Ok(Hickory {
            shared: Arc::new(Shared {
                setup,
                hosts,
                options,
            }),
        })
    }
}

fn parse_hosts(bytes: &[u8]) -> StaticHosts {
    StaticHosts::from_hosts_file(&String::from_utf8_lossy(bytes))
}

/// Why there is no [`Hickory`]: the nameservers or the search list are not to be had.
#[derive(Debug)]
pub struct HickoryError {
    what: &'static str,
    source: Option<BoxError>,
}

impl HickoryError {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    pub(super) fn because(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self {
            what,
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for HickoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl Error for HickoryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
