//! The same numbers as `ss`, in a network namespace of the test's own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use tollgate_sockets::{ClosedFirst, Ports, Sockets, Source, TcpState};
use tollgate_testing::{namespace, skip};

/// Each socket as its two ends and its state, with how often it occurs.
type Table = BTreeMap<(SocketAddr, SocketAddr, TcpState), usize>;

fn ours(source: Source) -> Table {
    let sockets = Sockets::read_by(source).unwrap();
    assert_eq!(sockets.source, source);
    let mut table = Table::new();
    for socket in &sockets.all {
        *table
            .entry((socket.local, socket.remote, socket.state))
            .or_default() += 1;
    }
    table
}

/// The list of `ss`; `None` where it is not installed.
fn theirs() -> Option<Table> {
    let output = Command::new("ss").args(["-Htan"]).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let mut table = Table::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let (local, remote) = (address(words[3]), address(words[4]));
        *table.entry((local, remote, state(words[0]))).or_default() += 1;
    }
    Some(table)
}

fn state(word: &str) -> TcpState {
    match word {
        "ESTAB" => TcpState::Established,
        "SYN-SENT" => TcpState::SynSent,
        "FIN-WAIT-1" => TcpState::FinWait1,
        "FIN-WAIT-2" => TcpState::FinWait2,
        "TIME-WAIT" => TcpState::TimeWait,
        "CLOSE-WAIT" => TcpState::CloseWait,
        "LISTEN" => TcpState::Listen,
        other => panic!("{other}"),
    }
}

/// `ss` writes `*` for the unspecified address of both families, and no port as `*`.
fn address(text: &str) -> SocketAddr {
    let text = text.replace("*:", "[::]:").replace(":*", ":0");
    let addr: SocketAddr = text.parse().unwrap_or_else(|_| panic!("{text}"));
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Sockets in six states, of both families: what is returned keeps them there.
fn populate() -> (Vec<TcpListener>, Vec<TcpStream>) {
    let v4 = TcpListener::bind("127.0.0.1:80").unwrap();
    let v6 = TcpListener::bind("[::1]:80").unwrap();
    let both = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 81)).unwrap();
    let connect = |listener: &TcpListener, to: &str| {
        let near = TcpStream::connect(to).unwrap();
        (near, listener.accept().unwrap().0)
    };
    let mut held = Vec::new();
    for _ in 0..10 {
        let ends = [
            connect(&v4, "127.0.0.1:80"),
            connect(&v6, "[::1]:80"),
            connect(&both, "127.0.0.1:81"),
        ];
        held.extend(ends.into_iter().flat_map(|(near, far)| [near, far]));
    }
    for n in 0..40 {
        let (near, mut far) = connect(&v4, "127.0.0.1:80");
        drop(near);
        // The far end keeps its descriptor, or closes after the near one: then only that waits.
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
        if n % 4 == 0 {
            held.push(far);
        }
    }
    (vec![v4, v6, both], held)
}

#[test]
fn both_ways_read_the_sockets_that_ss_lists() {
    if !namespace::enter("both_ways_read_the_sockets_that_ss_lists") {
        return;
    }
    let held = populate();
    // The far ends that stay open acknowledge the end a delayed acknowledgement later.
    while ours(Source::SockDiag)
        .keys()
        .any(|(_, _, state)| *state == TcpState::FinWait1)
    {
        std::thread::yield_now();
    }
    let Some(theirs) = theirs() else {
        return skip("ss", "iproute2");
    };
    assert_eq!(ours(Source::SockDiag), theirs);
    assert_eq!(ours(Source::Proc), theirs);
    let states = |state| theirs.keys().filter(|(_, _, one)| *one == state).count();
    assert_eq!(states(TcpState::TimeWait), 30);
    assert_eq!(states(TcpState::FinWait2), 10);
    assert_eq!(states(TcpState::CloseWait), 10);
    assert_eq!(states(TcpState::Established), 60);
    assert_eq!(states(TcpState::Listen), 3);
    drop(held);
}

#[test]
fn network_namespace_is_read_by_process_id() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = Sockets::of_namespace(std::process::id()).unwrap();
    let port = listener.local_addr().unwrap();
    assert!(here.all.iter().any(|socket| socket.local == port));
    assert!(Sockets::of_namespace(u32::MAX).is_err());
}

#[test]
fn ports_taken_counts_up_until_connect_fails() {
    if !namespace::enter("ports_taken_counts_up_until_connect_fails") {
        return;
    }
    namespace::set("net/ipv4/ip_local_port_range", "40000 40099");
    namespace::set("net/ipv4/ip_local_reserved_ports", "40090-40099");
    namespace::set("net/ipv4/tcp_tw_reuse", "0");
    let full = TcpListener::bind("127.0.0.1:80").unwrap();
    let other = TcpListener::bind("127.0.0.1:81").unwrap();
    let to = full.local_addr().unwrap();
    let ports = Ports::read().unwrap();
    assert_eq!(ports.usable(), 90);
    let at = |n| Sockets::read().unwrap().destination(n, &ports);
    for n in 0..90 {
        assert_eq!(at(to).ports_taken, n);
        drop(TcpStream::connect(to).unwrap());
        drop(full.accept().unwrap());
    }
    let error = TcpStream::connect(to).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
    assert!(at(to).headroom() < 1e-9);
    assert_eq!(at(to).sockets.of(TcpState::TimeWait), 90);
    // Each destination has ports of its own.
    let other = other.local_addr().unwrap();
    TcpStream::connect(other).unwrap();
    assert!(at(other).headroom() > 0.9);
}

#[test]
fn tcp_state_shows_which_side_closed_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    for ours_first in [true, false] {
        let mut near = TcpStream::connect(to).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let local = near.local_addr().unwrap();
        let state = || Sockets::state(local, to).unwrap();
        assert_eq!(state(), Some(TcpState::Established));
        assert_eq!(ClosedFirst::after(state()), None);
        if ours_first {
            assert_eq!(ClosedFirst::before(state().unwrap()), ClosedFirst::Local);
            drop(near);
            far.read_exact(&mut [0; 1]).unwrap_err();
            drop(far);
            assert_eq!(state(), Some(TcpState::TimeWait));
            assert_eq!(ClosedFirst::after(state()), Some(ClosedFirst::Local));
        } else {
            drop(far);
            near.read_exact(&mut [0; 1]).unwrap_err();
            assert_eq!(ClosedFirst::before(state().unwrap()), ClosedFirst::Peer);
            drop(near);
            assert_eq!(ClosedFirst::after(state()), Some(ClosedFirst::Peer));
        }
    }
}
