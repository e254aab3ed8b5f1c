//! One nameserver and how well it did.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::time::{Instant, timeout};

use super::Options;
use super::builder::HickoryError;
use crate::answer::MAX_ADDRS;
use crate::error::{LookupError, LookupErrorKind};

#[derive(Debug)]
pub(super) struct Server {
    resolver: TokioResolver,
    /// A truncated answer is asked for once more, over TCP.
    limit: Duration,
    /// Guards plain values.
    health: Mutex<Health>,
}

/// What one server said to one question.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Found { ips: Vec<IpAddr>, ttl: Duration },
    NotFound { ttl: Option<Duration> },
}

#[derive(Debug, Default)]
struct Health {
    failures: u32,
    bad_until: Option<Instant>,
    /// Smoothed, and from when.
    latency: Option<(Duration, Instant)>,
}

/// The first and the longest time that a failing server goes last.
const BAD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Below this, servers are equally fast: the configured order may have a meaning.
const FAST: Duration = Duration::from_millis(100);
/// An estimate is worth this long; then the configured order counts again.
const MEMORY: Duration = Duration::from_secs(60);

pub(super) fn udp_and_tcp(addr: SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(addr.ip());
    for connection in &mut config.connections {
        connection.port = addr.port();
    }
    config
}

impl Server {
    pub(super) fn new(config: NameServerConfig, options: &Options) -> Result<Self, HickoryError> {
        let config = ResolverConfig::from_name_servers(vec![config]);
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        let opts: &mut ResolverOpts = builder.options_mut();
        opts.cache_size = 0;
        opts.attempts = 0;
        opts.timeout = options.timeout;
        opts.use_hosts_file = ResolveHosts::Never;
        opts.edns0 = true;
        opts.num_concurrent_reqs = 1;
        opts.case_randomization = options.case_randomization;
        let resolver = builder.build();
        let unusable = |error| HickoryError::because("a nameserver cannot be used", error);
        Ok(Self {
            resolver: resolver.map_err(unusable)?,
            limit: options.timeout.saturating_mul(2),
            health: Mutex::default(),
        })
    }

    /// Asks one question. A question that is dropped before its answer says nothing of the server,
    /// unless [`was_overtaken`](Self::was_overtaken) says it.
    pub(super) async fn ask(&self, name: Name, kind: RecordType) -> Result<Reply, LookupError> {
        let asked = Instant::now();
        let lookup = timeout(self.limit, self.resolver.lookup(name, kind)).await;
        let result = match lookup {
            Ok(Ok(lookup)) => Ok(addresses(&lookup, kind)),
            Ok(Err(error)) => refusal(error),
            Err(_) => Err(LookupError::new(LookupErrorKind::TimedOut)),
        };
        self.record(result.is_ok(), asked);
        result
    }

    /// Sorts servers: those that fail last, the slow after the fast, and otherwise as configured.
    pub(super) fn rank(&self, now: Instant) -> (Option<Instant>, u32) {
        let health = self.locked();
        let recent = health.latency.filter(|(_, at)| *at + MEMORY > now);
        let times_fast = recent.map_or(0, |(latency, _)| latency.as_millis() / FAST.as_millis());
        let slowness = u128::BITS - times_fast.leading_zeros();
        (health.bad_until.filter(|until| *until > now), slowness)
    }

    /// Another server, asked later, replied first.
    pub(super) fn was_overtaken(&self) {
        self.locked().failed(Instant::now());
    }

    fn record(&self, worked: bool, asked: Instant) {
        let now = Instant::now();
        let mut health = self.locked();
        if worked {
            health.worked(now - asked, now);
        } else {
            health.failed(now);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    fn worked(&mut self, latency: Duration, now: Instant) {
        let smooth = self
            .latency
            .map_or(latency, |(old, _)| (old * 7 + latency) / 8);
        *self = Self {
            latency: Some((smooth, now)),
            ..Self::default()
        };
    }

    /// Several questions that fail at the same time, as A and AAAA do, are one failure.
    fn failed(&mut self, now: Instant) {
        if self.bad_until.is_some_and(|until| now < until) {
            return;
        }
        let (first, longest) = BAD;
        let bad = first
            .saturating_mul(1 << self.failures.min(16))
            .min(longest);
        self.failures += 1;
        self.bad_until = Some(now + bad);
    }
}

fn addresses(lookup: &hickory_resolver::lookup::Lookup, kind: RecordType) -> Reply {
    let records = lookup.answers();
    // Aliases on the way count: the address behind one may change with it.
    let on_the_way = |kind_: RecordType| kind_ == kind || kind_ == RecordType::CNAME;
    let relevant = records
        .iter()
        .filter(|record| on_the_way(record.record_type()));
    let ttl = relevant.map(|record| record.ttl).min().unwrap_or_default();
    let ips = records.iter().filter_map(|record| match record.data {
        RData::A(a) if kind == RecordType::A => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) if kind == RecordType::AAAA => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    });
    let ips: Vec<_> = ips.take(MAX_ADDRS).collect();
    if ips.is_empty() {
        Reply::NotFound { ttl: None }
    } else {
        Reply::Found {
            ips,
            ttl: Duration::from_secs(ttl.into()),
        }
    }
}

/// "No such name" and "no such records" are replies; all else is the server's failure.
fn refusal(error: NetError) -> Result<Reply, LookupError> {
    let kind = match &error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let ttl = none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into()));
            return Ok(Reply::NotFound { ttl });
        }
        NetError::Timeout => LookupErrorKind::TimedOut,
        NetError::Io(io) if io.kind() == std::io::ErrorKind::TimedOut => LookupErrorKind::TimedOut,
        _ => LookupErrorKind::Transient,
    };
    let failed = LookupError::new(kind);
    // A time-out already ends in the error that classifiers look for; hickory's does not.
    Err(match kind {
        LookupErrorKind::TimedOut => failed,
        _ => failed.with_source(error),
    })
}
