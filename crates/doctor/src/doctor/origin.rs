//! The origin: its addresses, TLS, HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use super::report::Check;
use super::wire::{Connected, NoConnection, PATIENCE, Target, for_each};
use super::words::{chain, list, percent, time};

/// A round trip round the world is 300 ms; more on a connect is a lost SYN or a full backlog.
const SLOW_CONNECT: Duration = Duration::from_millis(300);
/// Two round trips and the arithmetic.
const SLOW_TLS: Duration = Duration::from_millis(700);

/// The number of tries of a slow address; its best counts.
const TRIES: usize = 3;

/// More addresses are not tried.
const MAX_ADDRS: usize = 8;

type Tried = (SocketAddr, Result<Connected, NoConnection>);

/// The checks of all addresses, and one address that serves.
pub(crate) struct Addresses {
    pub(crate) good: Option<SocketAddr>,
    pub(crate) checks: Vec<Check>,
}

pub(crate) async fn addresses(target: &Target, addrs: &[SocketAddr]) -> Addresses {
    let addrs = &addrs[..addrs.len().min(MAX_ADDRS)];
    let mut tried = try_all(target, addrs).await;
    // A lost packet, or a busy machine, is not the address's own.
    for _ in 1..TRIES {
        if !tried.iter().any(|(_, result)| is_slow(result)) {
            break;
        }
        let again = try_all(target, addrs).await;
        for (one, again) in tried.iter_mut().zip(again) {
            if is_slow(&one.1) && !is_slow(&again.1) && again.1.is_ok() {
                *one = again;
            }
        }
    }
    let good = tried
        .iter()
        .find(|(_, result)| result.is_ok())
        .map(|(addr, _)| *addr);
    let mut checks = vec![reachable(&tried), dead(&tried), connect_time(&tried)];
    if target.is_tls() {
        checks.extend([tls(&tried), alpn(&tried)]);
    }
    Addresses { good, checks }
}

async fn try_all(target: &Target, addrs: &[SocketAddr]) -> Vec<Tried> {
    for_each(addrs, |addr| target.connect(addr, &["h2", "http/1.1"])).await
}

fn is_slow(result: &Result<Connected, NoConnection>) -> bool {
    let slow =
        |one: &Connected| one.tcp >= SLOW_CONNECT || one.tls.is_some_and(|tls| tls >= SLOW_TLS);
    result.as_ref().is_ok_and(slow)
}

/// The addresses that TCP did not reach, with the reason.
fn unreached(tried: &[Tried]) -> Vec<(SocketAddr, String)> {
    let dead = tried.iter().filter_map(|(addr, result)| match result {
        // A handshake that failed has reached its address; the check `tls` has it.
        Err(NoConnection::Tcp(error)) => Some((*addr, error.to_string())),
        _ => None,
    });
    dead.collect()
}

fn described(dead: &[(SocketAddr, String)]) -> String {
    list(dead.iter().map(|(addr, why)| format!("{addr}: {why}")))
}

fn reachable(tried: &[Tried]) -> Check {
    let id = "reachable";
    let dead = unreached(tried);
    if dead.len() < tried.len() {
        let live = tried.len() - dead.len();
        return Check::ok(id, format!("{live} of {} addresses connect", tried.len()));
    }
    Check::critical(id, "no address connects")
        .evidence(format!("{} (limit {})", described(&dead), time(PATIENCE)))
        .option("the server, its port, or what is between: routes, firewalls; connect_timeout(…) bounds the wait")
}

/// Some of the addresses are dead, or a whole family is.
fn dead(tried: &[Tried]) -> Check {
    let id = "addresses";
    let dead = unreached(tried);
    if dead.is_empty() || dead.len() == tried.len() {
        return Check::ok(id, "all addresses alike");
    }
    let of_family = |v6: bool| {
        let of = |addr: &SocketAddr| addr.is_ipv6() == v6;
        let all = tried.iter().filter(|(addr, _)| of(addr)).count();
        all > 0 && all == dead.iter().filter(|(addr, _)| of(addr)).count()
    };
    let summary = if of_family(true) {
        "IPv6 does not connect, IPv4 does".to_owned()
    } else if of_family(false) {
        "IPv4 does not connect, IPv6 does".to_owned()
    } else {
        format!("{} of {} addresses do not connect", dead.len(), tried.len())
    };
    Check::warning(id, summary)
        .evidence(described(&dead))
        .option("take it out of the DNS; Tollgate dials the next after 250 ms (DialLayer::attempt_delay) and tries it last from then on")
}

fn connect_time(tried: &[Tried]) -> Check {
    let id = "connect-time";
    let connected = || {
        tried
            .iter()
            .filter_map(|(addr, result)| Some((result.as_ref().ok()?, *addr)))
    };
    let Some((tcp, addr)) = connected().map(|(one, addr)| (one.tcp, addr)).max() else {
        return Check::skipped(id, "no connection to time");
    };
    let tls = connected().filter_map(|(one, _)| one.tls).max();
    let both = tls.map_or_else(
        || time(tcp),
        |tls| format!("{}, TLS {}", time(tcp), time(tls)),
    );
    if tcp < SLOW_CONNECT && tls.is_none_or(|tls| tls < SLOW_TLS) {
        return Check::ok(id, format!("connects in {both}"));
    }
    Check::warning(id, format!("connects in {both}"))
        .evidence(format!("the slowest address is {addr}; above {} and {}", time(SLOW_CONNECT), time(SLOW_TLS)))
        .option("min_idle_per_origin(…) and Client::warm, so that no call waits for it; a listen backlog that is full costs 1 s")
}

fn tls(tried: &[Tried]) -> Check {
    let id = "tls";
    let failed: Vec<_> = tried
        .iter()
        .filter_map(|(addr, result)| match result {
            Err(NoConnection::Tls(error)) => Some(format!("{addr}: {}", chain(error))),
            _ => None,
        })
        .collect();
    let share = tried.len() - failed.len();
    if failed.is_empty() {
        return Check::ok(id, "TLS, with a certificate that is trusted");
    }
    Check::critical(id, "the TLS handshake fails")
        .evidence(format!("{}; {share} of {} addresses do it", list(&failed), tried.len()))
        .option("the server's certificate or its chain; TlsOptions::root_pem for an authority of one's own (here: --ca FILE)")
}

fn alpn(tried: &[Tried]) -> Check {
    let id = "alpn";
    let chosen = tried
        .iter()
        .find_map(|(_, result)| result.as_ref().ok()?.alpn.clone());
    match chosen.as_deref() {
        Some("h2") => Check::ok(
            id,
            "HTTP/2 is offered; TlsOptions::alpn(Alpn::Auto) takes it",
        ),
        Some(other) => Check::ok(id, format!("{other} by ALPN")),
        None => Check::ok(id, "no ALPN: HTTP/1.1"),
    }
}

/// Opens `most` connections at once, with a request on each, and counts those that are served.
pub(crate) async fn connections(target: &Target, addr: SocketAddr, most: usize) -> Check {
    let id = "connections";
    let addrs = vec![addr; most];
    let served = for_each(&addrs, async |addr| {
        let mut exchange = target.open(addr).await?;
        let head = exchange.get().await?;
        // Kept open, so that all of them are at once.
        Ok::<_, tollgate_core::BoxError>((exchange, head.status))
    });
    let served = served.await;
    let failed: Vec<_> = served
        .iter()
        .filter_map(|(_, one)| one.as_ref().err())
        .collect();
    // How servers and proxies refuse what is above their limit.
    let busy = |status: http::StatusCode| matches!(status.as_u16(), 429 | 503);
    let answers = served.iter().filter_map(|(_, one)| one.as_ref().ok());
    let refused = answers.filter(|(_, status)| busy(*status)).count();
    let took = most - failed.len() - refused;
    if took == most {
        return Check::ok(id, format!("{most} connections at once are served"));
    }
    let why = failed.first().map(|error| chain(&***error));
    Check::warning(
        id,
        format!("{took} of {most} connections at once are served"),
    )
    .evidence(format!(
        "{} failed ({}), {refused} got 429 or 503: {} are served",
        failed.len(),
        why.unwrap_or_else(|| "none".to_owned()),
        percent(ratio(took, most)),
    ))
    .option(format!(
        "max_connections_per_origin({}), or the server's own limit",
        took.max(1)
    ))
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}
