//! Where a resolver that replaces the C library's must find what that finds.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tollgate_core::BoxError;
use tollgate_testing::DnsServer;
use tollgate_testing::dns::{Answer, RecordType, ResponseCode};

use crate::resolver::{Column, Outcome, Resolver};
use crate::table::Cell;
use crate::{DOMAINS, both_families};

/// The hosts file of the last row.
pub(crate) const HOSTS: &str = "127.0.0.1 localhost\n10.9.0.1 p0.test p1.test p2.test p3.test\n\
                                10.9.0.2 p4.test p5.test p6.test p7.test\n";

type Row = Result<Cell, BoxError>;

/// The first server knows the names of this network and is slow, the second denies them at once.
pub(crate) async fn order(server: &DnsServer, column: Column, limit: Duration) -> Row {
    let hasty = DnsServer::start().await;
    server.script_all(|_| both_families().after(Duration::from_millis(130)));
    hasty.script_all(|_| Answer::nxdomain());
    let resolver = Resolver::new(column, &[server, &hasty], &[], limit).await?;
    let mut found = 0;
    for n in 0..6 {
        found += usize::from(resolver.lookup(&format!("{n}.corp.")).await.is_found());
    }
    Ok(Cell::new(format!("{found}/6 found"), found == 6))
}

pub(crate) async fn search_servfail(server: &DnsServer, column: Column, limit: Duration) -> Row {
    server.set("api.svc.test", Answer::servfail());
    server.set("api.cluster.test", both_families());
    let resolver = Resolver::new(column, &[server], &DOMAINS, limit).await?;
    Ok(found(
        &resolver.lookup("api").await,
        Duration::from_millis(250),
    ))
}

pub(crate) async fn broken_family(server: &DnsServer, column: Column, limit: Duration) -> Row {
    server.script_all(|_| Answer::nxdomain().silent_to(RecordType::AAAA));
    let own = both_families().silent_to(RecordType::AAAA);
    server.set("api.example.com", own);
    let resolver = Resolver::new(column, &[server], &DOMAINS, limit).await?;
    // A resolution delay for each of five names.
    Ok(found(
        &resolver.lookup("api.example.com").await,
        Duration::from_millis(600),
    ))
}

pub(crate) async fn no_edns(server: &DnsServer, column: Column, limit: Duration) -> Row {
    server.script_all(|query| {
        if query.edns {
            Answer::code(ResponseCode::FormErr).without_question()
        } else {
            both_families()
        }
    });
    let resolver = Resolver::new(column, &[server], &[], limit).await?;
    Ok(found(
        &resolver.lookup("a.test.").await,
        Duration::from_millis(250),
    ))
}

pub(crate) async fn referral(server: &DnsServer, column: Column, limit: Duration) -> Row {
    let healthy = DnsServer::start().await;
    server.script_all(|_| Answer::referral());
    healthy.script_all(|_| both_families());
    let resolver = Resolver::new(column, &[server, &healthy], &[], limit).await?;
    Ok(found(
        &resolver.lookup("a.test.").await,
        Duration::from_millis(250),
    ))
}

/// Eight names of the hosts file at once, as the first thing that is looked up.
pub(crate) async fn pinned(server: &DnsServer, column: Column, limit: Duration) -> Row {
    server.script_all(|_| both_families());
    let resolver = Resolver::pinned(column, server, HOSTS, limit).await?;
    let start = Instant::now();
    let names = (0..8).map(|n| format!("p{n}.test"));
    let lookups = names.map(|name| async { resolver.lookup(&{ name }).await });
    let found = join_all(lookups)
        .await
        .iter()
        .filter(|o| o.is_found())
        .count();
    let took = Outcome::time(start.elapsed());
    let packets = server.total();
    let text = format!("{found}/8 found in {took}, {packets} packets");
    Ok(Cell::new(text, found == 8 && packets == 0))
}

fn found(outcome: &Outcome, within: Duration) -> Cell {
    let kept = outcome.is_found() && outcome.took() < within;
    Cell::new(outcome.to_string(), kept)
}
