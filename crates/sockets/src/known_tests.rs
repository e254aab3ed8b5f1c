use super::*;
use crate::table::{Socket, Source};

const STATES: [TcpState; 4] = [
    TcpState::TimeWait,
    TcpState::LastAck,
    TcpState::Established,
    TcpState::FinWait2,
];

fn addr(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

const PEER: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9)),
    80,
);

fn origin(name: &str) -> Origin {
    format!("http://{name}").parse().unwrap()
}

fn reading(sockets: &[(u16, TcpState)]) -> Reading {
    let socket = |(port, state): &(u16, TcpState)| Socket::new(addr(*port), PEER, *state, 0);
    Reading {
        sockets: Sockets {
            all: sockets.iter().map(socket).collect(),
            source: Source::SockDiag,
        },
        ports: Ports {
            range: 40_000..=40_009,
            reserved: Vec::new(),
            tw_reuse: None,
        },
        files: None,
    }
}

#[test]
fn closing_side_is_settled_by_remaining_tcp_state() {
    let mut known = Known::default();
    let billing = origin("billing");
    known.learn(&billing, PEER);
    // The fifth has left nothing behind.
    for (connection, port) in (0..5).zip(40_000..) {
        known.opened(connection, (addr(port), PEER));
        known.closed(&billing, connection);
    }
    let seen: Vec<_> = (40_000..).zip(STATES).collect();
    let rows = known.rows(&reading(&seen));
    assert_eq!(rows[0].closed, [2, 2], "one is open still");
    let rows = known.rows(&reading(&[(40_002, TcpState::TimeWait)]));
    assert_eq!(rows[0].closed, [3, 2], "it was settled by the next report");
    let rows = known.rows(&reading(&[]));
    assert_eq!(rows[0].closed, [3, 2]);
    assert_eq!((known.open.len(), known.closes.len()), (0, 0));
}

#[test]
fn close_is_given_up_once_ports_are_reused() {
    let mut known = Known::default();
    let billing = origin("billing");
    known.opened(1, (addr(40_000), PEER));
    known.closed(&billing, 1);
    let open = [(40_000, TcpState::Established)];
    for _ in 0..2 {
        known.rows(&reading(&open));
    }
    assert!(known.closes.is_empty());
}

#[test]
fn row_has_all_states_and_least_headroom() {
    let mut known = Known::default();
    known.learn(&origin("billing"), PEER);
    let seen: Vec<_> = (40_000..).zip(STATES).collect();
    let rows = known.rows(&reading(&seen));
    assert_eq!(rows[0].sockets.total(), 4);
    assert!((rows[0].headroom - 0.6).abs() < 1e-9);
    // Without a socket the address is forgotten, and the origin's row is zero.
    let rows = known.rows(&reading(&[]));
    assert_eq!((rows[0].sockets.total(), rows[0].label.port), (0, 80));
    assert!((rows[0].headroom - 1.0).abs() < 1e-9);
    assert!(known.origins.values().all(|series| series.addrs.is_empty()));
}

#[test]
fn origins_and_addresses_are_bounded() {
    let mut known = Known::default();
    for n in 0..300_u16 {
        known.learn(&origin(&format!("host-{n}")), PEER);
        known.learn(&origin("host-0"), addr(n));
    }
    assert_eq!(known.origins.len(), MAX_ORIGINS + 1);
    assert!(known.origins.contains_key(&Label::other()));
    assert!(
        known
            .origins
            .values()
            .all(|series| series.addrs.len() <= MAX_ADDRS)
    );
    for n in 0..70_000 {
        known.opened(n, (addr(1), PEER));
    }
    assert_eq!(known.open.len(), MAX_OPEN);
    for n in 0..70_000 {
        known.closed(&origin("host-0"), n);
    }
    assert!(known.open.is_empty());
    assert_eq!(known.closes.len(), MAX_CLOSES);
}
