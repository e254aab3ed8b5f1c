//! Name servers that read in the name what they are to do.
//!
//! The first label of a name says it in codes: `s-nx-ok` has the first server say NXDOMAIN and
//! the second answer; `c-nx-sf-ok` has every server say NXDOMAIN below the first domain of the
//! search list, SERVFAIL below the second, and answer below the third or, where there are fewer,
//! for the name as it is. The last code counts on.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use tollgate_testing::DnsServer;
use tollgate_testing::dns::{Answer, Query, RecordType, ResponseCode};

/// The search list of the configurations that have one.
pub(crate) const DOMAINS: [&str; 3] = ["one.test", "two.test", "three.test"];

pub(crate) async fn start() -> Vec<DnsServer> {
    let link_local: Ipv6Addr = "fe80::53".parse().unwrap();
    let addrs: [SocketAddr; 4] = [
        ([127, 0, 0, 1], 53).into(),
        ([127, 0, 0, 2], 53).into(),
        ([127, 0, 0, 3], 53).into(),
        SocketAddrV6::new(link_local, 53, 0, 1).into(),
    ];
    let mut servers = Vec::new();
    for (addr, number) in addrs.into_iter().zip(0_u8..) {
        let server = DnsServer::start_at(addr).await;
        server.script_all(move |query| answer(number, query));
        servers.push(server);
    }
    servers
}

fn answer(server: u8, query: &Query) -> Answer {
    let first = query.name.split('.').next().unwrap_or_default();
    let mut codes = first.split('-');
    let by = codes.next().unwrap_or_default();
    let codes: Vec<&str> = codes.collect();
    let place = match by {
        "s" => usize::from(server),
        "c" => {
            let domain = DOMAINS
                .iter()
                .position(|domain| query.name.ends_with(domain));
            domain.unwrap_or(DOMAINS.len())
        }
        // A name that only the hosts file is to know, or that is a server's alone.
        _ => return Answer::nxdomain(),
    };
    let code = codes
        .get(place)
        .or_else(|| codes.last())
        .copied()
        .unwrap_or("nx");
    coded(code, server, query)
}

/// The addresses tell which server gave them.
fn addrs(server: u8) -> Answer {
    let v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, server.into());
    Answer::addrs([IpAddr::from([10, server, 0, 1]), v6.into()])
}

fn coded(code: &str, server: u8, query: &Query) -> Answer {
    let millis = Duration::from_millis;
    let is_v6 = query.rtype == RecordType::AAAA;
    let of = |v4: &str, v6: &str| coded(if is_v6 { v6 } else { v4 }, server, query);
    match code {
        "nx" => Answer::nxdomain(),
        "nd" => Answer::nodata().soa(30),
        "nb" => Answer::nodata(),
        "sf" => Answer::servfail(),
        "rf" => Answer::refused(),
        "ni" => Answer::code(ResponseCode::NotImp),
        "fe" => Answer::code(ResponseCode::FormErr),
        "ne" if query.edns => Answer::code(ResponseCode::FormErr),
        "nq" if query.edns => Answer::code(ResponseCode::FormErr).without_question(),
        "ok" | "ne" | "nq" => addrs(server),
        "lr" => Answer::referral(),
        "si" => Answer::silence(),
        "sl" => addrs(server).after(millis(130)),
        "vs" => addrs(server).after(millis(700)),
        "tr" => addrs(server).truncated(),
        "th" => addrs(server).truncated().silent_over_tcp(),
        "fo" => addrs(server).owned_by("other.test"),
        "cn" => addrs(server).through(["x.alias.test", "y.alias.test"]),
        "co" => Answer::nodata().through(["x.alias.test"]),
        "cl" => Answer::cname_loop(),
        "t0" => addrs(server).ttl(0),
        "tm" => addrs(server).ttl(u32::MAX),
        "wi" => addrs(server).wrong_id(),
        "wq" => addrs(server).wrong_question(),
        "ga" => Answer::garbage([&query.id.to_be_bytes()[..], &[0x81, 0x80, 9, 9, 9]].concat()),
        "v4" => of("ok", "nd"),
        "v6" => of("nd", "ok"),
        // The second family is dropped, fails, or does not exist.
        "ad" => of("ok", "si"),
        "as" => of("ok", "sf"),
        "ax" => of("ok", "nx"),
        "al" => of("ok", "sl"),
        "da" => of("si", "ok"),
        "sa" => of("sf", "ok"),
        "xa" => of("nx", "ok"),
        "xd" => of("nx", "si"),
        "xs" => of("nx", "sf"),
        "xn" => of("nx", "nd"),
        "sx" => of("sf", "nx"),
        "ds" => of("nd", "sf"),
        "dd" => of("nd", "si"),
        "dx" => of("nd", "nx"),
        _ => panic!("{code:?} is no code"),
    }
}
