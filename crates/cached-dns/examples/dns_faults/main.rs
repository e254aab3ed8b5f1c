//! What faults of a name server cost: this crate, hickory as it comes, and getaddrinfo side by side.
//!
//! `dns_faults [--quick|--full]` prints a table. Every cell has a scripted name server of its own on
//! loopback; nothing leaves the machine. `--quick`, the default, gives up on a lookup after 3 s,
//! `--full` after 30 s. It fails if a cell of this crate does not keep what it promises. The getaddrinfo column needs Linux, `unshare` and `ip`: each of its cells is
//! a process with its own resolv.conf and its own port 53.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod namespace;
mod resolver;
mod rows;
mod table;

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tollgate_core::BoxError;
use tollgate_testing::DnsServer;
use tollgate_testing::dns::{Answer, Query, RecordType};

use resolver::{Column, Outcome, Resolver};
use table::Cell;

const QUICK: Duration = Duration::from_secs(3);
const FULL: Duration = Duration::from_secs(30);
const DOMAINS: [&str; 4] = ["ns.svc.test", "svc.test", "cluster.test", "host.test"];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] | ["--quick"] => table::print(QUICK).await,
        ["--full"] => table::print(FULL).await,
        // A cell of the getaddrinfo column, in its own namespaces.
        [namespace::CELL, row, limit] => {
            let row = Row::ALL
                .iter()
                .find(|known| known.label() == row)
                .ok_or("no such row")?;
            let limit = Duration::from_secs(limit.parse()?);
            println!("{}", row.run(Column::Getaddrinfo, limit).await?.text);
            // A thread that hangs in getaddrinfo would keep the process.
            std::process::exit(0)
        }
        _ => Err("usage: dns_faults [--quick|--full]".into()),
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Row {
    AaaaDropped,
    OneServfail,
    Expiry,
    GivingUp,
    Down,
    Search,
    Order,
    SearchServfail,
    BrokenFamily,
    NoEdns,
    Referral,
    Pinned,
}

impl Row {
    pub(crate) const ALL: [Self; 12] = [
        Self::AaaaDropped,
        Self::OneServfail,
        Self::Expiry,
        Self::GivingUp,
        Self::Down,
        Self::Search,
        Self::Order,
        Self::SearchServfail,
        Self::BrokenFamily,
        Self::NoEdns,
        Self::Referral,
        Self::Pinned,
    ];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::AaaaDropped => "AAAA never answered",
            Self::OneServfail => "1 of 2 servers SERVFAIL, 20 names",
            Self::Expiry => "500 callers at expiry, server 150 ms",
            Self::GivingUp => "5 callers give up at 100 of 150 ms",
            Self::Down => "server down after a good answer",
            Self::Search => "ndots:5, 4 search domains",
            Self::Order => "1st of 2 knows the names, 130 ms",
            Self::SearchServfail => "SERVFAIL of one search domain",
            Self::BrokenFamily => "NXDOMAIN for A, AAAA dropped, ndots:5",
            Self::NoEdns => "FORMERR to EDNS",
            Self::Referral => "1st of 2 gives a lame referral",
            Self::Pinned => "8 names of the hosts file at start",
        }
    }

    /// For the cell that has a resolv.conf.
    pub(crate) fn resolv_conf(self) -> String {
        match self {
            Self::OneServfail | Self::Order | Self::Referral => {
                "nameserver 127.0.0.1\nnameserver 127.0.0.2\n".to_owned()
            }
            Self::Search | Self::SearchServfail | Self::BrokenFamily => {
                let domains = DOMAINS.join(" ");
                format!("nameserver 127.0.0.1\nsearch {domains}\noptions ndots:5\n")
            }
            _ => "nameserver 127.0.0.1\n".to_owned(),
        }
    }

    pub(crate) async fn run(self, column: Column, limit: Duration) -> Result<Cell, BoxError> {
        let server = DnsServer::start().await;
        match self {
            Self::AaaaDropped => aaaa_dropped(&server, column, limit).await,
            Self::OneServfail => one_servfail(&server, column, limit).await,
            Self::Expiry => expiry(&server, column, limit).await,
            Self::GivingUp => giving_up(&server, column, limit).await,
            Self::Down => down(server, column, limit).await,
            Self::Search => search(&server, column, limit).await,
            Self::Order => rows::order(&server, column, limit).await,
            Self::SearchServfail => rows::search_servfail(&server, column, limit).await,
            Self::BrokenFamily => rows::broken_family(&server, column, limit).await,
            Self::NoEdns => rows::no_edns(&server, column, limit).await,
            Self::Referral => rows::referral(&server, column, limit).await,
            Self::Pinned => rows::pinned(&server, column, limit).await,
        }
    }
}

fn both_families() -> Answer {
    Answer::addrs([
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ])
}

async fn aaaa_dropped(
    server: &DnsServer,
    column: Column,
    limit: Duration,
) -> Result<Cell, BoxError> {
    server.script_all(|_| both_families().silent_to(RecordType::AAAA));
    let resolver = Resolver::new(column, &[server], &[], limit).await?;
    let outcome = resolver.lookup("a.test.").await;
    // The resolution delay is 50 ms; the rest is for a busy machine.
    let kept = outcome.is_found() && outcome.took() < Duration::from_millis(150);
    Ok(Cell::new(outcome.to_string(), kept))
}

async fn one_servfail(
    server: &DnsServer,
    column: Column,
    limit: Duration,
) -> Result<Cell, BoxError> {
    let healthy = DnsServer::start().await;
    server.script_all(|_| Answer::servfail());
    healthy.script_all(|_| both_families());
    let resolver = Resolver::new(column, &[server, &healthy], &[], limit).await?;
    let (mut found, mut longest) = (0, Duration::ZERO);
    for n in 0..20 {
        let outcome = resolver.lookup(&format!("{n}.test.")).await;
        found += usize::from(outcome.is_found());
        longest = longest.max(outcome.took());
    }
    let text = format!("{found}/20 found, longest {}", Outcome::time(longest));
    let kept = found == 20 && longest < Duration::from_millis(250);
    Ok(Cell::new(text, kept))
}

/// At once the first time, and after 150 ms from then on.
fn slow_after_first(query: &Query) -> Answer {
    let answer = both_families().ttl(1);
    if query.nth == 0 {
        answer
    } else {
        answer.after(Duration::from_millis(150))
    }
}

async fn expiry(server: &DnsServer, column: Column, limit: Duration) -> Result<Cell, BoxError> {
    server.script_all(slow_after_first);
    let resolver = Resolver::new(column, &[server], &[], limit).await?;
    resolver.lookup("a.test.").await;
    sleep(Duration::from_millis(1100)).await;
    let before = server.total();
    let outcomes = join_all((0..500).map(|_| resolver.lookup("a.test."))).await;
    let longest = outcomes.iter().map(Outcome::took).max().unwrap_or_default();
    let found = outcomes.iter().filter(|outcome| outcome.is_found()).count();
    sleep(Duration::from_millis(300)).await;
    let packets = server.total() - before;
    let text = format!(
        "{found} found, longest {}, {packets} packets",
        Outcome::time(longest)
    );
    // Nobody waits for the server, and one refresh asks for both families.
    let kept = found == 500 && longest < Duration::from_millis(100) && packets == 2;
    Ok(Cell::new(text, kept))
}

async fn giving_up(server: &DnsServer, column: Column, limit: Duration) -> Result<Cell, BoxError> {
    server.script_all(|_| both_families().after(Duration::from_millis(150)));
    let hasty = Resolver::new(column, &[server], &[], limit).await?;
    for _ in 0..5 {
        hasty
            .lookup_within("a.test.", Duration::from_millis(100))
            .await;
    }
    let next = hasty.lookup("a.test.").await;
    let queries = server.count("a.test", RecordType::A);
    let kept = queries == 1 && next.is_found() && next.took() < Duration::from_millis(50);
    Ok(Cell::new(format!("{queries} A queries, then {next}"), kept))
}

async fn down(mut server: DnsServer, column: Column, limit: Duration) -> Result<Cell, BoxError> {
    server.script_all(|_| both_families().ttl(1));
    let resolver = Resolver::new(column, &[&server], &[], limit).await?;
    resolver.lookup("a.test.").await;
    server.stop().await;
    sleep(Duration::from_millis(1100)).await;
    let outcome = resolver.lookup("a.test.").await;
    // The answer is in its stale-while-revalidate time: nobody waits.
    let kept = outcome.is_found() && outcome.took() < Duration::from_millis(100);
    Ok(Cell::new(outcome.to_string(), kept))
}

async fn search(server: &DnsServer, column: Column, limit: Duration) -> Result<Cell, BoxError> {
    server.set("api.example.com", both_families());
    let resolver = Resolver::new(column, &[server], &DOMAINS, limit).await?;
    resolver.lookup("api.example.com").await;
    let cold = server.total();
    let start = Instant::now();
    for _ in 0..100 {
        resolver.lookup("api.example.com").await;
    }
    let each = start.elapsed() / 100;
    let warm = server.total() - cold;
    let text = format!(
        "{cold} packets; 100 more: {warm} packets, {} each",
        Outcome::time(each)
    );
    // Two for each of four domains and the name itself, and none for a hit.
    let kept = (cold, warm) == (10, 0) && each < Duration::from_millis(1);
    Ok(Cell::new(text, kept))
}
