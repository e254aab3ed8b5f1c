//! An upstream moves from 127.0.0.2 to 127.0.0.3 by DNS, under a steady load.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, sleep, timeout};
use tollgate::cached_dns::Hickory;
use tollgate_testing::Plain;
use tollgate_testing::dns::{Answer, DnsServer};
use tower::BoxError;

/// As many callers, each with a request under way at all times, are as many connections.
pub(crate) const CALLERS: usize = 64;
/// The time that the upstream takes for a request.
const LATENCY: Duration = Duration::from_millis(50);
/// Under load before the move.
const BEFORE: Duration = Duration::from_millis(1500);
/// From the move until blue is switched off, beyond the TTL: all traffic is to have moved. It takes 1.8 s
/// (two looks at the answer, and eight groups 100 ms apart); the rest is for a machine with other work.
pub(crate) const GRACE: Duration = Duration::from_secs(4);
/// Under load after blue is off.
const AFTER: Duration = Duration::from_secs(1);
const NAME: &str = "billing.internal";

/// Whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// `tollgate::Client`.
    Tollgate,
    /// reqwest, with hickory as it comes.
    Reqwest,
    /// hyper-util's legacy client, with hickory as it comes.
    Legacy,
}

/// The result.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Requests in all.
    pub(crate) requests: usize,
    /// Requests without an answer before blue was off.
    pub(crate) failed: usize,
    /// The end of the last answer from blue, after the move; `None` if blue was still in use when
    /// it was switched off.
    pub(crate) moved_after: Option<Duration>,
    /// Requests without an answer once blue was off.
    pub(crate) failed_after: usize,
    /// The most connections that closed on blue between two looks, 25 ms apart and not much later.
    pub(crate) most_at_once: usize,
    /// Connections to green.
    pub(crate) to_green: usize,
}

type Get = Arc<dyn Fn() -> BoxFuture<'static, Result<Bytes, BoxError>> + Send + Sync>;

/// Runs it.
///
/// # Panics
///
/// If a client or a server cannot be made.
pub(crate) async fn run(who: Who, ttl: u32) -> Outcome {
    let blue = upstream("127.0.0.2", 0, "blue").await;
    let port = blue.addr().port();
    let green = upstream("127.0.0.3", port, "green").await;
    let dns = DnsServer::start().await;
    dns.set(NAME, Answer::addrs([blue.addr().ip()]).ttl(ttl));
    let get = client(who, dns.addr(), format!("http://{NAME}:{port}/"));

    let stop = Arc::new(AtomicBool::new(false));
    let callers = (0..CALLERS).map(|_| tokio::spawn(caller(get.clone(), stop.clone())));
    let callers: Vec<_> = callers.collect();
    sleep(BEFORE).await;
    // Clients without a limit keep dials that were not needed in the end, too.
    assert!(blue.stats().live >= CALLERS, "a connection a caller");
    // Right after a refresh, if there are any, so that the whole TTL is still to come.
    let refreshed = dns.reached(dns.total() + 2);
    let _refreshed = timeout(Duration::from_secs(ttl.into()), refreshed).await;
    sleep(LATENCY).await;
    let moved = Instant::now();
    dns.set(NAME, Answer::addrs([green.addr().ip()]).ttl(ttl));
    let until = moved + Duration::from_secs(ttl.into()) + GRACE;
    let most_at_once = most_closed_at_once(&blue, until).await;
    let off = Instant::now();
    drop(blue);
    sleep(AFTER).await;
    stop.store(true, Relaxed);

    let calls: Vec<Call> = join_all(callers)
        .await
        .into_iter()
        .flat_map(Result::unwrap_or_default)
        .collect();
    let from_blue = calls
        .iter()
        .filter(|call| call.answer.as_deref() == Some(b"blue"));
    let last = from_blue.map(|call| call.ended).max();
    let is_failed = |call: &&Call| call.answer.is_none();
    let (failed_after, failed): (Vec<_>, Vec<_>) = calls
        .iter()
        .filter(is_failed)
        .partition(|call| call.ended >= off);
    let in_use = last.is_none_or(|last| last + LATENCY * 2 >= off) || !failed_after.is_empty();
    Outcome {
        requests: calls.len(),
        failed: failed.len(),
        moved_after: last
            .filter(|_| !in_use)
            .map(|last| last.saturating_duration_since(moved)),
        failed_after: failed_after.len(),
        most_at_once,
        to_green: green.stats().accepted,
    }
}

async fn upstream(ip: &str, port: u16, body: &'static str) -> Plain {
    let ip: IpAddr = ip.parse().expect("an address");
    let upstream = Plain::builder().bind((ip, port)).latency(LATENCY);
    upstream.body(body).start().await
}

async fn most_closed_at_once(blue: &Plain, until: Instant) -> usize {
    let mut looks = Looks::at(blue);
    while Instant::now() < until {
        sleep(Duration::from_millis(25)).await;
        looks.look(blue);
    }
    looks.most_closed
}

/// Looks at the connections to an upstream.
pub(crate) struct Looks {
    looked: Instant,
    pub(crate) live: usize,
    /// The most that closed between two looks. One that comes late counts for nothing.
    pub(crate) most_closed: usize,
}

impl Looks {
    pub(crate) fn at(upstream: &Plain) -> Self {
        Self {
            looked: Instant::now(),
            live: upstream.stats().live,
            most_closed: 0,
        }
    }

    pub(crate) fn look(&mut self, upstream: &Plain) {
        let (now, live) = (Instant::now(), upstream.stats().live);
        if now - self.looked < Duration::from_millis(75) {
            let closed = self.live.saturating_sub(live);
            self.most_closed = self.most_closed.max(closed);
        }
        (self.looked, self.live) = (now, live);
    }
}

#[derive(Clone, Debug)]
struct Call {
    ended: Instant,
    answer: Option<Bytes>,
}

async fn caller(get: Get, stop: Arc<AtomicBool>) -> Vec<Call> {
    let mut calls = Vec::new();
    while !stop.load(Relaxed) {
        let answer = get().await.ok();
        let ended = Instant::now();
        if answer.is_none() {
            // Not a busy loop when everything fails at once.
            sleep(LATENCY).await;
        }
        calls.push(Call { ended, answer });
    }
    calls
}

fn client(who: Who, dns: SocketAddr, uri: String) -> Get {
    match who {
        Who::Tollgate => {
            let hickory = Hickory::with_nameservers([dns]).expect("a nameserver");
            let client = tollgate::Client::builder()
                .resolver(hickory)
                .max_connections_per_origin(CALLERS)
                .build();
            let client = client.expect("the options make sense");
            Arc::new(move || {
                let call = client.get(uri.as_str());
                Box::pin(async move { Ok(call.await?.into_body().collect().await?.to_bytes()) })
            })
        }
        Who::Reqwest => {
            let client = reqwest::Client::builder().no_proxy();
            let client = client.dns_resolver(AsItComes::new(dns)).build();
            let client = client.expect("the options make sense");
            Arc::new(move || {
                let call = client.get(&uri).send();
                Box::pin(async move { Ok(call.await?.bytes().await?) })
            })
        }
        Who::Legacy => {
            let resolver = AsItComes::new(dns);
            let resolver = tower::service_fn(move |name: Name| {
                let resolver = resolver.clone();
                async move { resolver.lookup(name.as_str()).await }
            });
            let connector = HttpConnector::new_with_resolver(resolver);
            let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .build::<_, Empty<Bytes>>(connector);
            let uri: http::Uri = uri.parse().expect("a URI");
            Arc::new(move || {
                let call = client.get(uri.clone());
                Box::pin(async move { Ok(call.await?.into_body().collect().await?.to_bytes()) })
            })
        }
    }
}

/// hickory's resolver with its defaults, its cache included.
#[derive(Clone)]
struct AsItComes(TokioResolver);

impl AsItComes {
    fn new(server: SocketAddr) -> Self {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut config.connections {
            connection.port = server.port();
        }
        let config = ResolverConfig::from_name_servers(vec![config]);
        let provider = TokioRuntimeProvider::default();
        let resolver = TokioResolver::builder_with_config(config, provider).build();
        Self(resolver.expect("hickory can be built"))
    }

    async fn lookup(&self, name: &str) -> Result<std::vec::IntoIter<SocketAddr>, BoxError> {
        let found = self.0.lookup_ip(format!("{name}.")).await?;
        let addrs: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
        Ok(addrs.into_iter())
    }
}

impl reqwest::dns::Resolve for AsItComes {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addrs: reqwest::dns::Addrs = Box::new(this.lookup(name.as_str()).await?);
            Ok(addrs)
        })
    }
}
