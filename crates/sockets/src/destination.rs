//! Sockets and local ports by destination.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::table::{Socket, Sockets};
use crate::{Ports, TcpState};

/// The number of sockets in each state of TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Counts(BTreeMap<TcpState, u64>);

impl Counts {
    /// The number in one state.
    pub fn of(&self, state: TcpState) -> u64 {
        self.0.get(&state).copied().unwrap_or(0)
    }

    /// The number in all of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The states that there are sockets in, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = (TcpState, u64)> {
        self.0.iter().map(|(state, count)| (*state, *count))
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn add(&mut self, other: &Self) {
        for (state, count) in other.iter() {
            *self.0.entry(state).or_default() += count;
        }
    }
}

impl FromIterator<TcpState> for Counts {
    fn from_iter<I: IntoIterator<Item = TcpState>>(states: I) -> Self {
        let mut counts = Self::default();
        for state in states {
            *counts.0.entry(state).or_default() += 1;
        }
        counts
    }
}

/// The sockets to one destination, and the local ports that are left to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Destination {
    /// The address.
    pub remote: SocketAddr,
    /// Its sockets, by state.
    pub sockets: Counts,
    /// Local ports that no new connection to it can have, `TIME_WAIT` and listeners included: of the
    /// local address with the most, since each has ports of its own.
    pub ports_taken: u32,
    /// Local ports that there are for it: [`Ports::usable`].
    pub ports: u32,
}

impl Destination {
    pub(crate) fn of(sockets: &Sockets, remote: SocketAddr, ports: &Ports) -> Self {
        let listeners = Listeners::of(sockets);
        let mut found = Found::default();
        for socket in sockets.all.iter().filter(|socket| socket.remote == remote) {
            found.add(socket, ports);
        }
        found.finish(remote, &listeners, ports)
    }

    pub(crate) fn all(sockets: &Sockets, ports: &Ports) -> Vec<Self> {
        let listeners = Listeners::of(sockets);
        let mut found: HashMap<SocketAddr, Found> = HashMap::new();
        for socket in sockets.outgoing() {
            found.entry(socket.remote).or_default().add(socket, ports);
        }
        let all = found.into_iter();
        let mut all: Vec<_> = all
            .map(|(to, found)| found.finish(to, &listeners, ports))
            .collect();
        all.sort_by_key(|one| (std::cmp::Reverse(one.ports_taken), one.remote));
        all
    }

    /// The share of local ports that are left to it, from 0 to 1.
    ///
    /// At 0 `connect` fails with EADDRNOTAVAIL. Below [`SLOW_PORTS`](crate::SLOW_PORTS) it gets slow
    /// first. Where [`tcp_tw_reuse`](Ports::tw_reuse) applies, ports in `TIME_WAIT` for more than a
    /// second can be had again, and this is a lower bound.
    pub fn headroom(&self) -> f64 {
        if self.ports == 0 {
            return 0.0;
        }
        (1.0 - f64::from(self.ports_taken) / f64::from(self.ports)).max(0.0)
    }
}

/// The counts of one destination in the making.
#[derive(Default)]
struct Found {
    states: Vec<TcpState>,
    /// Local ports of the range, by local address: the two ends of a connection occur once.
    taken: HashMap<IpAddr, u32>,
}

impl Found {
    fn add(&mut self, socket: &Socket, ports: &Ports) {
        self.states.push(socket.state);
        if ports.contains(socket.local.port()) {
            *self.taken.entry(socket.local.ip()).or_default() += 1;
        }
    }

    fn finish(self, remote: SocketAddr, listeners: &Listeners, ports: &Ports) -> Destination {
        let most = self.taken.values().max().copied().unwrap_or(0);
        Destination {
            remote,
            sockets: self.states.into_iter().collect(),
            ports_taken: most + listeners.within(ports),
            ports: ports.usable(),
        }
    }
}

/// The ports that something listens on: no connection to anywhere gets one of them.
pub(crate) struct Listeners(BTreeSet<u16>);

impl Listeners {
    pub(crate) fn of(sockets: &Sockets) -> Self {
        let listening = |socket: &&Socket| socket.state == TcpState::Listen;
        let listeners = sockets.all.iter().filter(listening);
        Self(listeners.map(|socket| socket.local.port()).collect())
    }

    /// Returns true for a connection that came in.
    pub(crate) fn took_in(&self, socket: &Socket) -> bool {
        self.0.contains(&socket.local.port())
    }

    fn within(&self, ports: &Ports) -> u32 {
        let within = self.0.iter().filter(|port| ports.contains(**port)).count();
        u32::try_from(within).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Source;

    fn socket(local: &str, remote: &str, state: TcpState) -> Socket {
        let parse = |text: &str| text.parse().unwrap();
        Socket::new(parse(local), parse(remote), state, 1)
    }

    fn ports() -> Ports {
        Ports {
            range: 40000..=40009,
            reserved: vec![40009..=40009],
            tw_reuse: None,
        }
    }

    fn table() -> Sockets {
        use TcpState::{CloseWait, Established, Listen, TimeWait};
        let all = vec![
            socket("10.0.0.1:40000", "10.0.0.9:80", Established),
            socket("10.0.0.1:40001", "10.0.0.9:80", TimeWait),
            socket("[::ffff:10.0.0.1]:40002", "[::ffff:10.0.0.9]:80", CloseWait),
            // Another local address has ports of its own.
            socket("10.0.0.2:40000", "10.0.0.9:80", Established),
            // Bound by hand, outside of the range.
            socket("10.0.0.1:500", "10.0.0.9:80", Established),
            socket("10.0.0.1:40000", "10.0.0.8:443", Established),
            socket("0.0.0.0:8080", "0.0.0.0:0", Listen),
            socket("[::]:40005", "[::]:0", Listen),
            // Came in.
            socket("10.0.0.1:8080", "10.0.0.77:50123", Established),
        ];
        let source = Source::SockDiag;
        Sockets { all, source }
    }

    #[test]
    fn ports_are_counted_for_the_fullest_local_address() {
        let one = table().destination("10.0.0.9:80".parse().unwrap(), &ports());
        assert_eq!(one.sockets.total(), 5);
        assert_eq!(one.sockets.of(TcpState::Established), 3);
        assert_eq!(one.sockets.of(TcpState::CloseWait), 1);
        // Three of 10.0.0.1, and the listener's.
        assert_eq!((one.ports_taken, one.ports), (4, 9));
        assert!((one.headroom() - 5.0 / 9.0).abs() < 1e-9);
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_destination() {
        let mapped = "[::ffff:10.0.0.9]:80".parse().unwrap();
        let plain = "10.0.0.9:80".parse().unwrap();
        let of = |remote| table().destination(remote, &ports());
        assert_eq!(of(mapped), of(plain));
    }

    #[test]
    fn connections_that_came_in_are_no_destination() {
        let all = table().destinations(&ports());
        let remotes: Vec<_> = all.iter().map(|one| one.remote.to_string()).collect();
        assert_eq!(remotes, ["10.0.0.9:80", "10.0.0.8:443"]);
        assert_eq!(table().counts().of(TcpState::Listen), 2);
    }

    #[test]
    fn a_destination_without_sockets_has_what_listeners_leave() {
        let one = table().destination("10.9.9.9:80".parse().unwrap(), &ports());
        assert_eq!((one.sockets.total(), one.ports_taken), (0, 1));
    }
}
