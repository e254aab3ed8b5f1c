//! Dials that meet dead addresses, beside hyper-util's `HttpConnector`, over loopback.
//!
//! `cargo run -p tollgate-dial --example dial_table --release`
//!
//! A "hole" is a listener with a full backlog: Linux drops the SYNs. Takes about 15 s, and fails if a
//! dial of this crate does not keep what it promises.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tollgate_dial::DialLayer;
use tollgate_testing::{Hole, Refused};
use tower::{BoxError, Layer, Service, ServiceExt};

const V4: Ipv4Addr = Ipv4Addr::LOCALHOST;
const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;
/// An IPv6 address that this machine does not have.
const NOT_OURS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let (hole4, other4, hole6) = tokio::join!(Hole::start(V4), Hole::start(V4), Hole::start(V6));
    let (hole4, other4, hole6) = (hole4.addr(), other4.addr(), hole6.addr());
    let six = join_all((0..6).map(|_| Hole::start(V4))).await;
    let silent: Vec<_> = six.iter().map(Hole::addr).collect();
    let refused = Refused::start(V4);
    let listener = TcpListener::bind((V4, 0)).await?;
    let good = listener.local_addr()?;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });

    let rows = [
        Row::new("v4 hole, v4 good", &[hole4, good]).within(300),
        Row::new("v4 hole, v4 hole, v4 good", &[hole4, other4, good]).within(550),
        Row::new("v6 hole, v4 good", &[hole6, good]).within(300),
        Row::new("v6 hole, v4 hole, v4 good", &[hole6, hole4, good]).within(550),
        Row::new("v4 refused, v4 good", &[refused.addr(), good]).within(60),
        Row::new("v6 hole, v4 hole; limit 2 s", &[hole6, hole4])
            .limit(2000)
            .within(2050),
        Row::new("v6 hole, v4 good; budget 200 ms", &[hole6, good])
            .budget(200)
            .within(200),
        Row::new("v4 hole, v4 hole, v4 good; 300 ms", &[hole4, other4, good])
            .budget(300)
            .within(300),
        Row::new("six v4 holes, v4 good", &[&silent[..], &[good]].concat()).within(1600),
        Row::new("v6 cannot bind, v4 good", &[(V6, 9).into(), good])
            .binding()
            .within(60),
        Row::new("the same, families in one list", &[(V6, 9).into(), good])
            .binding()
            .one_list()
            .within(60),
    ];
    // Ours one after the other, then theirs side by side: most of those only wait.
    let (mut ours, mut broken) = (Vec::new(), Vec::new());
    for row in &rows {
        let took = row.time_ours().await;
        if !row.is_kept(&took) {
            broken.push(row.label);
        }
        ours.push(took);
    }
    let plain = join_all(rows.iter().map(|row| time(row.hyper_util(row.time())))).await;
    let limited = rows.iter().map(|row| async {
        let limit = row.time().unwrap_or(Duration::from_secs(4));
        time(row.hyper_util(Some(limit))).await
    });
    let limited = join_all(limited).await;

    print_rows(&rows, &[ours, plain, limited]);
    let one = Row::new("v4 good (median of 501)", &[good]);
    let ours = median(|| one.ours()).await;
    let theirs = median(|| one.hyper_util(None)).await;
    println!("{:<36}{ours:>18}{theirs:>18}", one.label);
    if broken.is_empty() {
        return Ok(());
    }
    Err(format!("not as promised: {}", broken.join("; ")).into())
}

fn print_rows(rows: &[Row], columns: &[Vec<Took>; 3]) {
    println!(
        "{:<36}{:>18}{:>18}{:>22}",
        "addresses", "tollgate-dial", "HttpConnector", "… with a 4 s timeout"
    );
    for (n, row) in rows.iter().enumerate() {
        println!(
            "{:<36}{:>18}{:>18}{:>22}",
            row.label,
            columns[0][n].to_string(),
            columns[1][n].to_string(),
            columns[2][n].to_string()
        );
    }
}

/// The result of a dial and its time; `None` if it did not end.
struct Took(Option<(bool, Duration)>);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => write!(f, "none in {} s", PATIENCE.as_secs()),
            Some((true, took)) => write!(f, "{} ms", took.as_millis()),
            Some((false, took)) => write!(f, "error at {} ms", took.as_millis()),
        }
    }
}

struct Row {
    label: &'static str,
    addrs: Vec<SocketAddr>,
    limit: Option<Duration>,
    /// The same, but to be connected within it.
    budget: Option<Duration>,
    /// In what time ours is to end: with a connection, unless `limit` is to end it.
    within: Duration,
    /// Dial from 127.0.0.1 and from an IPv6 address that cannot be bound.
    binding: bool,
    /// `HttpConnector` with its happy eyeballs off.
    one_list: bool,
}

impl Row {
    fn new(label: &'static str, addrs: &[SocketAddr]) -> Self {
        Self {
            label,
            addrs: addrs.to_vec(),
            limit: None,
            budget: None,
            within: PATIENCE,
            binding: false,
            one_list: false,
        }
    }

    fn limit(mut self, millis: u64) -> Self {
        self.limit = Some(Duration::from_millis(millis));
        self
    }

    fn budget(mut self, millis: u64) -> Self {
        self.budget = Some(Duration::from_millis(millis));
        self
    }

    /// The time limit of the dial.
    fn time(&self) -> Option<Duration> {
        self.limit.or(self.budget)
    }

    fn within(mut self, millis: u64) -> Self {
        self.within = Duration::from_millis(millis);
        self
    }

    fn is_kept(&self, took: &Took) -> bool {
        let kept = |(connected, took): (bool, Duration)| {
            took <= self.within && connected == self.limit.is_none()
        };
        took.0.is_some_and(kept)
    }

    fn binding(mut self) -> Self {
        self.binding = true;
        self
    }

    fn one_list(mut self) -> Self {
        self.one_list = true;
        self
    }

    fn resolver(&self) -> Answers {
        Answers(self.addrs.clone())
    }

    /// On a busy machine a timer may be late, but not three times.
    async fn time_ours(&self) -> Took {
        let mut took = time(self.ours()).await;
        for _ in 0..2 {
            if !self.is_kept(&took) {
                took = time(self.ours()).await;
            }
        }
        took
    }

    async fn ours(&self) -> bool {
        let mut layer = DialLayer::new();
        if let Some(limit) = self.time() {
            layer = layer.connect_timeout(limit);
        }
        if self.binding {
            let [v4, v6] = [IpAddr::V4(V4), IpAddr::V6(NOT_OURS)];
            layer = layer.local_address(v4).local_address(v6);
        }
        let dial = layer.layer(self.resolver());
        dial.oneshot(uri()).await.is_ok()
    }

    async fn hyper_util(&self, limit: Option<Duration>) -> bool {
        let mut connector = HttpConnector::new_with_resolver(self.resolver());
        connector.set_connect_timeout(limit);
        if self.binding {
            connector.set_local_addresses(V4, NOT_OURS);
        }
        if self.one_list {
            connector.set_happy_eyeballs_timeout(None);
        }
        connector.oneshot(uri()).await.is_ok()
    }
}

fn uri() -> Uri {
    Uri::from_static("http://table.test")
}

async fn time(dial: impl Future<Output = bool>) -> Took {
    let from = Instant::now();
    let ended = timeout(PATIENCE, dial).await;
    Took(ended.ok().map(|connected| (connected, from.elapsed())))
}

async fn median<F: Future<Output = bool>>(dial: impl Fn() -> F) -> String {
    let mut times = Vec::new();
    for _ in 0..501 {
        let from = Instant::now();
        if dial().await {
            times.push(from.elapsed().as_micros());
        }
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2);
    median.map_or_else(|| "error".to_owned(), |us| format!("{us} µs"))
}

/// Answers every name with these addresses.
#[derive(Clone)]
struct Answers(Vec<SocketAddr>);

impl Service<Name> for Answers {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}
