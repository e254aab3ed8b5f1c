//! The address policy: the networks that may be dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The networks that may be dialled, by addresses that come from a name or stand in the URI.
///
/// The check is made on the address that is about to be connected to, after resolution, so neither
/// a spelling (`2130706433`, `0x7f.1`), a redirect nor a name that changes its answer between check
/// and use gets round it. An IPv6 address that carries an IPv4 one (v4-mapped, NAT64
/// `64:ff9b::/96` and `64:ff9b:1::/48`, 6to4, Teredo, v4-compatible) is permitted only if what it carries
/// is permitted too; a v4-mapped address *is* the IPv4 address, and networks within `::ffff:0:0/96` are
/// the IPv4 ones. That `/96` itself, which lists of bogus addresses contain, is the mapped spelling alone.
///
/// The unspecified addresses `0.0.0.0` and `::` lead to this machine when they are connected to, so they
/// are permitted only if the loopback address is.
///
/// A [`deny`](Self::deny) wins over an [`allow`](Self::allow), which wins over the start:
/// [`any`](Self::any), [`public_only`](Self::public_only) or [`none`](Self::none).
///
/// It does not cover what a proxy dials on our behalf, nor about Unix sockets, which only the
/// program itself can name.
///
/// ```
/// use tollgate_dial::AddrPolicy;
///
/// let policy = AddrPolicy::public_only()
///     .allow("10.20.0.0/16".parse::<ipnet::IpNet>()?)
///     .deny("168.63.129.16/32".parse::<ipnet::IpNet>()?);
/// assert!(policy.permits("93.184.215.14".parse()?));
/// assert!(policy.permits("10.20.3.4".parse()?));
/// assert!(!policy.permits("169.254.169.254".parse()?));
/// assert!(!policy.permits("::ffff:127.0.0.1".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddrPolicy {
    start: Start,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Start {
    #[default]
    Any,
    Public,
    None,
}

impl AddrPolicy {
    /// Every address. The default.
    pub const fn any() -> Self {
        Self::starting(Start::Any)
    }

    /// Public unicast addresses: none of IANA's special-purpose blocks (loopback, private, link
    /// local with the clouds' metadata services, shared, documentation, benchmarking and so on), no
    /// multicast, and in IPv6 nothing outside of `2000::/3` but NAT64.
    ///
    /// Against server-side request forgery, for URIs that somebody else chose. Azure's host service
    /// `168.63.129.16` is a public address: deny it as well where that matters.
    pub const fn public_only() -> Self {
        Self::starting(Start::Public)
    }

    /// No address but those that are allowed.
    pub const fn none() -> Self {
        Self::starting(Start::None)
    }

    const fn starting(start: Start) -> Self {
        Self {
            start,
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }

    /// Permits the addresses in `net`.
    #[must_use]
    pub fn allow(mut self, net: impl Into<IpNet>) -> Self {
        self.allow.push(unmapped(net.into()));
        self
    }

    /// Forbids the addresses in `net`.
    #[must_use]
    pub fn deny(mut self, net: impl Into<IpNet>) -> Self {
        self.deny.push(unmapped(net.into()));
        self
    }

    /// Returns `true` if `ip` may be dialled.
    pub fn permits(&self, ip: IpAddr) -> bool {
        // As it is written first: `deny(::ffff:0:0/96)` is about the spelling.
        let written = ip;
        let ip = ip.to_canonical();
        !self.denies(written)
            && self.permits_one(ip)
            && carried(ip)
                .into_iter()
                .flatten()
                .all(|v4| self.permits_one(v4))
            && (!ip.is_unspecified() || self.permits_this_machine(ip))
    }

    /// The kernel takes an unspecified address for the loopback one of its family. A denial of either
    /// loopback is meant for this machine.
    fn permits_this_machine(&self, unspecified: IpAddr) -> bool {
        let [v4, v6] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let own = if unspecified.is_ipv4() { v4 } else { v6 };
        self.permits_one(own) && !self.denies(v4) && !self.denies(v6)
    }

    fn denies(&self, ip: IpAddr) -> bool {
        self.deny.iter().any(|net| net.contains(&ip))
    }

    fn permits_one(&self, ip: IpAddr) -> bool {
        !self.denies(ip)
            && (self.allow.iter().any(|net| net.contains(&ip))
                || match self.start {
                    Start::Any => true,
                    Start::Public => is_public(ip),
                    Start::None => false,
                })
    }
}

/// An IPv4 network for one that is written as v4-mapped, so that it meets the addresses it means.
fn unmapped(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && v6.prefix_len() > MAPPED.prefix_len()
        && MAPPED.contains(&v6)
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(v4, v6.prefix_len() - MAPPED.prefix_len())
    {
        return v4.into();
    }
    net
}

/// The IPv4 addresses inside an IPv6 address: a Teredo address has two, its server and its client.
fn carried(ip: IpAddr) -> [Option<IpAddr>; 2] {
    let IpAddr::V6(v6) = ip else {
        return [None, None];
    };
    let octets = v6.octets();
    let at = |from: usize| {
        let [a, b, c, d] = std::array::from_fn(|i| octets[from + i]);
        Ipv4Addr::new(a, b, c, d)
    };
    // Both lie in `::/96`, and would be taken for the v4-compatible forms of 0.0.0.0 and 0.0.0.1.
    if v6.is_unspecified() || v6.is_loopback() {
        [None, None]
    } else if [NAT64, LOCAL_NAT64, COMPATIBLE]
        .iter()
        .any(|net| net.contains(&v6))
    {
        [Some(at(12).into()), None]
    } else if SIX_TO_FOUR.contains(&v6) {
        // RFC 3056 section 2: the address follows the 16 bits of the prefix.
        [Some(at(2).into()), None]
    } else if TEREDO.contains(&v6) {
        // RFC 4380 section 4: the client's address stands there with its bits inverted.
        let client = Ipv4Addr::from_bits(!at(12).to_bits());
        [Some(at(4).into()), Some(client.into())]
    } else {
        [None, None]
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|net| net.contains(&v4)),
        IpAddr::V6(v6) => {
            NAT64.contains(&v6)
                || GLOBAL_V6.contains(&v6) && !SPECIAL_V6.iter().any(|net| net.contains(&v6))
        }
    }
}

/// RFC 6052; globally reachable by the registry, and judged by what it carries.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], 96);
/// RFC 8215: NAT64 with prefixes of a network's own, of which the longest has the address at the end.
const LOCAL_NAT64: Ipv6Net = v6([0x64, 0xff9b, 1, 0], 48);
/// RFC 4291 section 2.5.5.1, deprecated.
const COMPATIBLE: Ipv6Net = v6([0, 0, 0, 0], 96);
/// RFC 4291 section 2.5.5.2.
const MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);
/// RFC 3056.
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0], 16);
/// RFC 4380.
const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0], 32);
/// RFC 4291: global unicast, as far as it is given out.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// The IANA IPv4 Special-Purpose Address Registry without the entries that are globally reachable
/// by it, and multicast. The two anycast hosts in 192.0.0.0/24 serve no HTTP and stay in.
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// The networks that the IANA IPv6 registry takes out of [`GLOBAL_V6`]: protocol assignments (Teredo among
/// them), documentation, 6to4.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0], 32),
    SIX_TO_FOUR,
    v6([0x3fff, 0, 0, 0], 20),
];

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(head: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = head;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;
