//! The name: which nameservers answer, what they say, at what price.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::ask::{Answer, PATIENCE, ask};
use super::report::Check;
use super::resolv::{Resolv, in_hosts};
use super::words::{list, time};

/// A lookup that takes longer than a connect inside a data centre takes is felt.
const SLOW: Duration = Duration::from_millis(200);

/// Seconds; below this, each burst of connections asks again.
const SHORT_TTL: u32 = 5;

/// `resolv.conf` cannot say another one.
const PORT: u16 = 53;

/// A name that no server may know (RFC 6761 section 6.4).
const NO_SUCH_NAME: &str = "tollgate-doctor.invalid.";

pub(crate) struct Names {
    pub(crate) addrs: Vec<IpAddr>,
    pub(crate) checks: Vec<Check>,
}

/// One nameserver, and what it said about the name.
struct Server {
    addr: SocketAddr,
    v4: std::io::Result<Answer>,
    v6: std::io::Result<Answer>,
    nonsense: std::io::Result<Answer>,
}

impl Server {
    async fn examine(addr: SocketAddr, name: &str) -> Self {
        let (v4, v6, nonsense) = tokio::join!(
            ask(addr, name, RecordType::A),
            ask(addr, name, RecordType::AAAA),
            ask(addr, NO_SUCH_NAME, RecordType::A),
        );
        Self {
            addr,
            v4,
            v6,
            nonsense,
        }
    }

    fn answers(&self) -> impl Iterator<Item = &Answer> {
        [&self.v4, &self.v6]
            .into_iter()
            .filter_map(|answer| answer.as_ref().ok())
    }

    fn addrs(&self) -> Vec<IpAddr> {
        self.answers()
            .flat_map(|answer| answer.addrs.iter().copied())
            .collect()
    }

    fn is_silent(&self) -> bool {
        self.v4.is_err() && self.v6.is_err() && self.nonsense.is_err()
    }

    fn denies(&self) -> bool {
        self.answers()
            .any(|answer| answer.code == ResponseCode::NXDomain)
    }

    fn says(&self) -> String {
        let addrs = self.addrs();
        if !addrs.is_empty() {
            return list(addrs);
        }
        match (&self.v4, &self.v6) {
            (Ok(answer), _) | (_, Ok(answer)) => format!("{:?}", answer.code),
            (Err(error), _) => error.to_string(),
        }
    }
}

/// Examines the name of a host: a literal address and one of the hosts file need no nameserver.
pub(crate) async fn examine(host: &str, resolv_conf: &str, hosts: &str) -> Names {
    if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
        return known(vec![ip], "the host is an address");
    }
    // Before the nameservers, as nsswitch.conf usually has it: `hosts: files dns`.
    let known_addrs = in_hosts(hosts, host);
    if !known_addrs.is_empty() {
        return known(known_addrs, "the host is in /etc/hosts");
    }
    let resolv = Resolv::parse(resolv_conf);
    if resolv.nameservers.is_empty() {
        let check = Check::critical("resolves", "resolv.conf names no nameserver")
            .evidence("no line `nameserver` in /etc/resolv.conf")
            .option("a nameserver in /etc/resolv.conf, or ClientBuilder::resolver");
        return Names {
            addrs: Vec::new(),
            checks: vec![check],
        };
    }
    let servers: Vec<_> = resolv
        .nameservers
        .iter()
        .map(|ip| SocketAddr::new(*ip, PORT))
        .collect();
    let (name, nth) = find(&alive(&servers).await, &resolv.candidates(host)).await;
    let examined = join_all(servers.iter().map(|server| Server::examine(*server, &name))).await;
    let mut addrs: Vec<_> = examined.iter().flat_map(Server::addrs).collect();
    addrs.sort_unstable();
    addrs.dedup();
    let checks = vec![
        lies(&examined),
        silent(&examined),
        resolves(host, &addrs, &examined),
        slow(&examined),
        search_list(host, &resolv, nth),
        ttl(&examined),
    ];
    Names { addrs, checks }
}

fn known(addrs: Vec<IpAddr>, why: &str) -> Names {
    let checks = vec![Check::ok("resolves", format!("{why}: {}", list(&addrs)))];
    Names { addrs, checks }
}

/// Those that answer at all: a silent one would hold up each candidate.
async fn alive(servers: &[SocketAddr]) -> Vec<SocketAddr> {
    let asked = servers.iter().map(|server| async {
        let answer = ask(*server, NO_SUCH_NAME, RecordType::A).await;
        answer.is_ok().then_some(*server)
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The first candidate that a server has addresses for, and how many came before it; the name itself
/// if none has.
async fn find(servers: &[SocketAddr], candidates: &[String]) -> (String, usize) {
    for (nth, name) in candidates.iter().enumerate() {
        let asked = servers.iter().map(|server| async {
            let (v4, v6) = tokio::join!(
                ask(*server, name, RecordType::A),
                ask(*server, name, RecordType::AAAA),
            );
            [v4, v6]
                .into_iter()
                .flatten()
                .any(|answer| !answer.addrs.is_empty())
        });
        if join_all(asked).await.contains(&true) {
            return (name.clone(), nth);
        }
    }
    // The shortest is the name as it was written.
    let itself = candidates.iter().min_by_key(|name| name.len());
    (itself.cloned().unwrap_or_default(), 0)
}

fn lies(servers: &[Server]) -> Check {
    let id = "nameserver-lies";
    let invents = servers.iter().find_map(|server| {
        let answer = server.nonsense.as_ref().ok()?;
        (!answer.addrs.is_empty()).then(|| (server.addr, list(&answer.addrs)))
    });
    if let Some((server, addrs)) = invents {
        return Check::critical(id, format!("{server} answers for names that do not exist"))
            .evidence(format!(
                "{NO_SUCH_NAME} is {addrs} there: a wrong name connects to a stranger"
            ))
            .option("another nameserver in /etc/resolv.conf, or HickoryBuilder::nameservers");
    }
    let answers = servers.iter().any(|server| !server.addrs().is_empty());
    match servers.iter().find(|server| server.denies()) {
        Some(server) if answers => {
            let said = servers
                .iter()
                .map(|one| format!("{} says {}", one.addr, one.says()));
            Check::critical(id, format!("{} denies a name that others know", server.addr))
                .evidence(list(said))
                .option("servers of one view only in /etc/resolv.conf, or HickoryBuilder::nameservers: a denial is an answer, and the next server is not asked")
        }
        _ => Check::ok(id, "nameservers agree, and none invents names"),
    }
}

fn silent(servers: &[Server]) -> Check {
    let id = "nameserver-silent";
    let silent: Vec<_> = servers.iter().filter(|server| server.is_silent()).collect();
    if silent.is_empty() {
        return Check::ok(id, format!("{} nameserver(s) answer", servers.len()));
    }
    let why = silent
        .iter()
        .map(|one| format!("{}: {}", one.addr, one.says()));
    let summary = format!(
        "{} of {} nameservers do not answer",
        silent.len(),
        servers.len()
    );
    let check = if silent.len() == servers.len() {
        Check::critical(id, summary)
    } else {
        Check::warning(id, summary)
    };
    check
        .evidence(format!("{} (two packets, {} each)", list(why), time(PATIENCE)))
        .option("take it out of /etc/resolv.conf; getaddrinfo waits 5 s for it, HickoryBuilder::hedge 300 ms")
}

fn resolves(host: &str, addrs: &[IpAddr], servers: &[Server]) -> Check {
    let id = "resolves";
    if addrs.is_empty() {
        let said = servers
            .iter()
            .map(|one| format!("{} says {}", one.addr, one.says()));
        return Check::critical(id, format!("{host} has no address"))
            .evidence(list(said))
            .option("the name, its zone, or the nameservers in /etc/resolv.conf");
    }
    let families = match (
        addrs.iter().any(IpAddr::is_ipv4),
        addrs.iter().any(IpAddr::is_ipv6),
    ) {
        (true, true) => "IPv4 and IPv6",
        (true, false) => "IPv4 only",
        _ => "IPv6 only",
    };
    Check::ok(id, format!("{host} is {} ({families})", list(addrs)))
}

/// By the fastest answer of each server: one packet may be late for other reasons.
fn slow(servers: &[Server]) -> Check {
    let id = "nameserver-slow";
    let times = servers.iter().filter_map(|one| {
        let fastest = one.answers().map(|answer| answer.took).min();
        Some((fastest?, one.addr))
    });
    match times.max() {
        Some((took, addr)) if took > SLOW => {
            Check::warning(id, format!("{addr} takes {}", time(took)))
                .evidence(format!(
                    "one lookup took {}, above {}",
                    time(took),
                    time(SLOW)
                ))
                .option("a resolver nearby; dns_max_ttl(…) keeps answers longer")
        }
        Some((took, _)) => Check::ok(id, format!("lookups take at most {}", time(took))),
        None => Check::skipped(id, "no nameserver answers"),
    }
}

fn search_list(host: &str, resolv: &Resolv, nth: usize) -> Check {
    let id = "search-list";
    // A name without a dot is meant for the search list.
    if nth == 0 || !host.contains('.') {
        return Check::ok(id, "no detour through the search list");
    }
    Check::warning(
        id,
        format!("{} queries for {host} in the place of 2", 2 * (nth + 1)),
    )
    .evidence(format!(
        "ndots:{}, and the name has {} dot(s), so {} search domain(s) are asked first: {}",
        resolv.ndots,
        host.matches('.').count(),
        nth,
        list(resolv.search.iter().take(nth)),
    ))
    .option(format!(
        "HickoryBuilder::absolute_names(true), or a dot at the end: {host}."
    ))
}

fn ttl(servers: &[Server]) -> Check {
    let id = "ttl";
    let Some(ttl) = servers
        .iter()
        .flat_map(Server::answers)
        .filter_map(|one| one.ttl)
        .min()
    else {
        return Check::skipped(id, "no answer has a TTL");
    };
    if ttl >= SHORT_TTL {
        return Check::ok(id, format!("a TTL of {ttl} s"));
    }
    Check::warning(id, format!("a TTL of {ttl} s"))
        .evidence(format!(
            "an answer may be kept for {ttl} s, so nearly every connect asks again"
        ))
        .option("CachedDnsLayer::min_ttl, or a longer TTL in the zone")
}
