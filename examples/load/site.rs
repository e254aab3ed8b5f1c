//! Where the load goes, and who counts there.

use std::net::Ipv4Addr;
use std::sync::Arc;

use http::Uri;
use tollgate_testing::dns::Answer;
use tollgate_testing::io::Counter;
use tollgate_testing::{DnsServer, Plain, Refused};

use crate::BoxError;
use crate::cli::Args;
use crate::fault::{Fault, MANY};
use crate::resolver::Resolver;
use crate::time_wait;

/// The name of the upstream that load brings along.
const NAME: &str = "billing.internal";

/// Its path.
const PATH: &str = "/v1/invoices";

/// The time that its address may be remembered, in seconds: longer than a run.
const TTL: u32 = 60;

/// One client's upstream, with its counters.
///
/// Each client has an upstream and a nameserver of its own, all of a kind, so that no count and no
/// socket of one run is left in the next.
pub(crate) struct Site {
    uris: Arc<[Uri]>,
    port: u16,
    counter: Counter,
    resolver: Resolver,
    own: Option<Own>,
}

/// The upstream that load brings along.
struct Own {
    upstream: Plain,
    dns: DnsServer,
    /// Keeps the port from others, so that it stays closed.
    _closed: Option<Refused>,
}

/// The effects of a run on the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) opened: u64,
    pub(crate) peak_open: u64,
    pub(crate) dns_queries: u64,
    pub(crate) time_wait: Option<usize>,
}

impl Site {
    pub(crate) async fn open(args: &Args) -> Result<Self, BoxError> {
        match &args.url {
            Some(url) => Ok(Self::remote(url)),
            None => Self::own(args).await,
        }
    }

    fn remote(url: &Uri) -> Self {
        Self {
            uris: Arc::from([url.clone()]),
            port: url.port_u16().unwrap_or(80),
            counter: Counter::default(),
            resolver: Resolver::system(),
            own: None,
        }
    }

    async fn own(args: &Args) -> Result<Self, BoxError> {
        let upstream = Plain::builder()
            .latency(args.delay)
            .keep_alive(!args.close)
            .start()
            .await;
        let dns = DnsServer::start().await;
        let names = names(args.fault);
        // A name that was not set does not exist.
        if args.fault != Some(Fault::NoSuchName) {
            for name in &names {
                dns.set(name, Answer::addrs([Ipv4Addr::LOCALHOST.into()]).ttl(TTL));
            }
        }
        let closed =
            (args.fault == Some(Fault::ClosedPort)).then(|| Refused::start(Ipv4Addr::LOCALHOST));
        let addr = closed
            .as_ref()
            .map_or_else(|| upstream.addr(), Refused::addr);
        let port = addr.port();
        let uris = names
            .iter()
            .map(|name| format!("http://{name}:{port}{PATH}").parse());
        Ok(Self {
            uris: uris.collect::<Result<_, _>>()?,
            port,
            counter: Counter::default(),
            resolver: Resolver::nameserver(dns.addr()),
            own: Some(Own {
                upstream,
                dns,
                _closed: closed,
            }),
        })
    }

    /// Returns the URIs of the requests, each in turn.
    pub(crate) fn uris(&self) -> Arc<[Uri]> {
        Arc::clone(&self.uris)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn counter(&self) -> &Counter {
        &self.counter
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Returns true if the upstream counts its own connections.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    pub(crate) fn counts(&self) -> Counts {
        let (opened, peak_open, dns_queries) = if let Some(own) = &self.own {
            let stats = own.upstream.stats();
            let (opened, peak) = (stats.accepted as u64, stats.peak_live as u64);
            (opened, peak, own.dns.total() as u64)
        } else {
            let stats = self.counter.stats();
            let (opened, peak) = (stats.opened as u64, stats.peak_live as u64);
            (opened, peak, self.resolver.lookups())
        };
        Counts {
            opened,
            peak_open,
            dns_queries,
            time_wait: time_wait::count(self.port),
        }
    }
}

fn names(fault: Option<Fault>) -> Vec<String> {
    match fault {
        Some(Fault::ManyOrigins) => (0..MANY).map(|n| format!("{n}.{NAME}")).collect(),
        _ => vec![NAME.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser;

    use crate::load::{self, Progress};
    use crate::stack::Stack;
    use crate::tally::Tally;

    use super::*;

    /// What two requests for each of its names come to, through Tollgate.
    async fn flooded(fault: &str) -> (Tally, Counts) {
        let args = Args::parse_from(["load", "--fault", fault, "--delay", "0"]);
        let site = Site::open(&args).await.unwrap();
        let client = Stack::new(&args, &site, None).unwrap();
        let load = args.load(&site, 2 * site.uris().len() as u64);
        let tally = load::run(client, &load, &Progress::default()).await;
        (tally.unwrap(), site.counts())
    }

    #[tokio::test]
    async fn a_closed_port_refuses_every_dial() {
        let (tally, counts) = flooded("closed-port").await;
        assert_eq!(tally.errors, BTreeMap::from([("refused".to_owned(), 2)]));
        assert_eq!(counts.opened, 0);
        // A name whose addresses all failed is asked for once more, in the background: that question
        // may not have arrived yet.
        assert!((2..=4).contains(&counts.dns_queries), "{counts:?}");
    }

    #[tokio::test]
    async fn missing_name_fails_every_dns_lookup() {
        let (tally, counts) = flooded("no-such-name").await;
        assert_eq!(tally.errors, BTreeMap::from([("dns".to_owned(), 2)]));
        assert_eq!((counts.opened, counts.dns_queries), (0, 2));
    }

    #[tokio::test]
    async fn each_of_many_origins_gets_own_connections() {
        let (tally, counts) = flooded("many-origins").await;
        assert_eq!((tally.latencies.len(), tally.failed()), (2 * MANY, 0));
        assert!(counts.opened >= MANY as u64, "{counts:?}");
        assert_eq!(counts.dns_queries, 2 * MANY as u64);
    }
}
