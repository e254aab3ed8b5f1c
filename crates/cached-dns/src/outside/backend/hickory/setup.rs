//! The servers to ask, and how.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use tokio::time::Instant;

use super::Options;
use super::error::HickoryError;
use super::machine::{Family, Seat, Times};
use super::resolv_conf::ResolvConf;
use super::server::{Described, Server};
use crate::outside::backend::watched::Watched;

#[derive(Debug)]
pub(super) struct Setup {
    pub(super) servers: Vec<Arc<Server>>,
    pub(super) times: Times,
    pub(super) search: Vec<Name>,
    pub(super) ndots: usize,
    pub(super) no_tld_query: bool,
    families: &'static [Family],
    /// With `options rotate`: the server to begin with, modulo their number.
    turn: Option<AtomicUsize>,
}

/// glibc looks at 3 servers and, in old versions, 6 search domains; a file that names thousands is
/// a mistake.
const MAX_SERVERS: usize = 16;
const MAX_SEARCH: usize = 32;
/// No timer is set further ahead than this.
const LONGEST: Duration = Duration::from_secs(3600);
/// A shorter silence would ask again without end.
const SHORTEST: Duration = Duration::from_millis(10);

impl Setup {
    pub(super) fn new(
        servers: Vec<Described>,
        conf: ResolvConf,
        options: &Options,
    ) -> Result<Self, HickoryError> {
        let times = times(&conf, options);
        let servers = servers.into_iter().take(MAX_SERVERS);
        let servers = servers.map(|described| {
            Server::new(described, conf.use_vc, times.limit, options).map(Arc::new)
        });
        let servers: Vec<_> = servers.collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(HickoryError::new("there is no nameserver to ask"));
        }
        let mut search = conf.search;
        search.truncate(MAX_SEARCH);
        Ok(Self {
            servers,
            times,
            search,
            ndots: conf.ndots,
            no_tld_query: conf.no_tld_query,
            families: if conf.no_aaaa {
                &[Family::V4]
            } else {
                &[Family::V4, Family::V6]
            },
            turn: conf.rotate.then(AtomicUsize::default),
        })
    }

    /// The setup that `resolv.conf` describes, now and whenever it changes. A file that is missing
    /// or names no server stands for the server of this machine, as in the C library, until there
    /// is one that does; a good one that breaks changes nothing.
    pub(super) fn of_system(path: PathBuf, port: u16, options: &Options) -> Watched<Self> {
        let of = {
            let options = options.clone();
            move |mut conf: ResolvConf| {
                if !conf.has_search {
                    conf.search.extend(domain_of_this_machine());
                }
                let servers = conf.servers.iter().map(|addr| {
                    let mut addr = *addr;
                    addr.set_port(port);
                    Described::Addr(addr)
                });
                Self::new(servers.collect(), conf, &options)
            }
        };
        let default = {
            let of = of.clone();
            move || {
                let mut conf = ResolvConf::default();
                conf.servers
                    .push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
                of(conf).expect("a plain server can be set up")
            }
        };
        let parse = move |bytes: &[u8]| match of(read(bytes)) {
            Ok(setup) => Some(setup),
            Err(error) => {
                tracing::warn!(%error, "resolv.conf makes no sense");
                None
            }
        };
        Watched::read(path, default, parse)
    }

    /// The servers in their configured order, which `options rotate` turns by one each time.
    pub(super) fn seats(&self, now: Instant) -> Vec<Seat> {
        let len = self.servers.len();
        let first = self
            .turn
            .as_ref()
            .map_or(0, |turn| turn.fetch_add(1, Relaxed) % len);
        let places = (0..len).map(|place| (first + place) % len);
        places
            .map(|place| self.servers[place].seat(place, now))
            .collect()
    }

    pub(super) const fn families(&self) -> &'static [Family] {
        self.families
    }
}

/// On systems that do not go by `resolv.conf`, the servers come from the system's calls.
#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
fn read(bytes: &[u8]) -> ResolvConf {
    ResolvConf::parse(bytes)
}

#[cfg(not(all(unix, not(any(target_os = "android", target_vendor = "apple")))))]
fn read(_: &[u8]) -> ResolvConf {
    let mut conf = ResolvConf::default();
    if let Ok((system, options)) = hickory_resolver::system_conf::read_system_conf() {
        let (domain, search, servers) = system.into_parts();
        conf.servers
            .extend(servers.iter().map(|server| SocketAddr::new(server.ip, 0)));
        conf.search = if search.is_empty() {
            domain.into_iter().collect()
        } else {
            search
        };
        conf.has_search = true;
        conf.ndots = options.ndots;
    }
    conf
}

/// The options of the builder go before those of the file, and both before the defaults.
fn times(conf: &ResolvConf, options: &Options) -> Times {
    let limit = options.timeout.or_else(|| conf.limit()).unwrap_or(LIMIT);
    let limit = limit.clamp(SHORTEST, LONGEST);
    let silence = options
        .silence
        .or_else(|| conf.timeout())
        .unwrap_or(SILENCE);
    Times {
        hedge: options.hedge.min(LONGEST),
        silence: silence.clamp(SHORTEST, limit),
        limit,
        resolution_delay: options.resolution_delay.min(LONGEST),
        late_limit: options.late_limit.min(LONGEST),
    }
}

/// glibc's 5 s for each of 2 attempts.
const LIMIT: Duration = Duration::from_secs(10);
/// glibc waits for 5 s; a dial that waits behind the lookup has 5 s in all.
const SILENCE: Duration = Duration::from_millis(1500);

/// Everything behind the first dot of the host's name is its search list if nothing else is.
fn domain_of_this_machine() -> Option<Name> {
    let host = dns_lookup::get_hostname().ok()?;
    let (_, domain) = host.split_once('.')?;
    let mut name = Name::from_ascii(domain).ok()?;
    name.set_fqdn(true);
    Some(name)
}
