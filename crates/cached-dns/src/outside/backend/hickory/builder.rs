//! The options of [`Hickory`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::NameServerConfig;
use hickory_resolver::proto::rr::Name;

use super::error::HickoryError;
use super::resolv_conf::ResolvConf;
use super::server::Described;
use super::setup::Setup;
use super::{Hickory, Options, Shared, Source};
use crate::addresses::hosts::StaticHosts;
use crate::outside::backend::watched::Watched;

/// The time at which the next server is asked without an answer from the one before.
const HEDGE: Duration = Duration::from_millis(300);
/// RFC 8305 §3.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// RFC 8305 §3 keeps reading answers for a while to fill the cache; `HEv3` has about 1 s.
const LATE_LIMIT: Duration = Duration::from_secs(2);

/// Makes a [`Hickory`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct HickoryBuilder {
    options: Options,
    system_port: u16,
    servers: Option<Vec<Described>>,
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
                timeout: None,
                silence: None,
                hedge: HEDGE,
                resolution_delay: RESOLUTION_DELAY,
                late_limit: LATE_LIMIT,
                absolute_names: false,
                case_randomization: false,
                ipv6_first: None,
            },
            system_port: 53,
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
    pub fn nameservers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.servers = Some(servers.into_iter().map(Described::Addr).collect());
        self
    }

    /// Asks these instead of the system's: for DNS over TLS, which needs hickory's feature for it.
    /// The type is `hickory-resolver`'s own and changes with its versions.
    pub fn nameserver_configs(
        mut self,
        servers: impl IntoIterator<Item = NameServerConfig>,
    ) -> Self {
        self.servers = Some(servers.into_iter().map(Described::Config).collect());
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

    /// The file with the system's nameservers: `/etc/resolv.conf`. Looked at for changes every 5 s at
    /// most, when a name is looked up. A file that is missing or names no server stands for
    /// the server at 127.0.0.1, as in the C library; one that becomes so changes nothing. Of its options, `ndots`, `timeout`,
    /// `attempts`, `rotate`, `use-vc`, `no-aaaa` and `no-tld-query` are honoured.
    /// Linux and the BSDs only; elsewhere the system is asked for its nameservers.
    pub fn resolv_conf(mut self, path: impl Into<PathBuf>) -> Self {
        self.resolv_conf = path.into();
        self
    }

    /// The port of the system's nameservers, which `resolv.conf` cannot say: 53.
    pub const fn system_port(mut self, port: u16) -> Self {
        self.system_port = port;
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

    /// The time after which no reply to a query is waited for: `timeout` × `attempts` of
    /// `resolv.conf` if it gives either, else 10 s (glibc's 5 s, twice), an hour at most.
    ///
    /// A server that is slow is better than none: its reply counts as long as no other has any.
    pub const fn timeout(mut self, longest: Duration) -> Self {
        self.options.timeout = Some(longest);
        self
    }

    /// The time after which a server without a reply counts as failed: the negative reply of
    /// another then counts, and the next lookup asks it last. `timeout` of `resolv.conf` if it gives one, else 1.5 s.
    pub const fn silence(mut self, longest: Duration) -> Self {
        self.options.silence = Some(longest);
        self
    }

    /// The time that to wait for a server before the next one is asked too: 300 ms.
    pub const fn hedge(mut self, wait: Duration) -> Self {
        self.options.hedge = wait;
        self
    }

    /// The time that to wait for the second address family once the first one is there: 50 ms. A
    /// dial takes it off its own.
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

    /// Returns true if IPv6 addresses come first: if this machine has a route for them, which is
    /// found out without sending anything and looked at again every 10 s.
    pub const fn ipv6_first(mut self, first: bool) -> Self {
        self.options.ipv6_first = Some(first);
        self
    }

    /// Reads the hosts file and, without explicit nameservers, `resolv.conf`.
    ///
    /// Blocks for as long as that takes: what the files say is known before the first lookup.
    ///
    /// # Errors
    ///
    /// If there are explicit nameservers and none of them can be used, or if a search domain for
    /// them is not a name.
    pub fn build(self) -> Result<Hickory, HickoryError> {
        let (setup, mut files) = if let Some(servers) = self.servers {
            let search = self.search.iter().map(name);
            let conf = ResolvConf {
                search: search.collect::<Result<_, _>>()?,
                ndots: self.ndots,
                ..ResolvConf::default()
            };
            let setup = Setup::new(servers, conf, &self.options)?;
            (Source::Fixed(Arc::new(setup)), Vec::new())
        } else {
            let file = Setup::of_system(self.resolv_conf, self.system_port, &self.options);
            let basis = file.basis();
            (Source::File(file), vec![basis])
        };
        let hosts = self
            .hosts_file
            .map(|path| Watched::read(path, StaticHosts::new, |bytes| Some(parse_hosts(bytes))));
        files.extend(hosts.as_ref().map(Watched::basis));
        Ok(Hickory {
            shared: Arc::new(Shared {
                setup,
                hosts,
                options: self.options,
                files: files.into(),
            }),
        })
    }
}

fn name(domain: &String) -> Result<Name, HickoryError> {
    let name = Name::from_ascii(domain);
    name.map_err(|error| HickoryError::because("a search domain is not a domain name", error))
}

fn parse_hosts(bytes: &[u8]) -> StaticHosts {
    StaticHosts::from_hosts_file(&String::from_utf8_lossy(bytes))
}
