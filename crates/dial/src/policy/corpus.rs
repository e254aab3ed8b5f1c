//! Every kind of address that `public_only` is there for, in all its spellings.

use super::tests::{ip, net};
use super::*;

/// Special-purpose networks by IANA's registries, their first and last address.
const SPECIAL: &[(&str, &str, &str)] = &[
    ("this network, RFC 791", "0.0.0.0", "0.255.255.255"),
    ("private, RFC 1918", "10.0.0.0", "10.255.255.255"),
    ("shared, RFC 6598", "100.64.0.0", "100.127.255.255"),
    ("loopback, RFC 1122", "127.0.0.0", "127.255.255.255"),
    ("link local, RFC 3927", "169.254.0.0", "169.254.255.255"),
    ("private, RFC 1918", "172.16.0.0", "172.31.255.255"),
    ("protocol assignments, RFC 6890", "192.0.0.0", "192.0.0.255"),
    ("documentation, RFC 5737", "192.0.2.0", "192.0.2.255"),
    ("6to4 relays, RFC 7526", "192.88.99.0", "192.88.99.255"),
    ("private, RFC 1918", "192.168.0.0", "192.168.255.255"),
    ("benchmarks, RFC 2544", "198.18.0.0", "198.19.255.255"),
    ("documentation, RFC 5737", "198.51.100.0", "198.51.100.255"),
    ("documentation, RFC 5737", "203.0.113.0", "203.0.113.255"),
    ("multicast, RFC 5771", "224.0.0.0", "239.255.255.255"),
    (
        "reserved and broadcast, RFC 1112",
        "240.0.0.0",
        "255.255.255.255",
    ),
    ("unspecified, RFC 4291", "::", "::"),
    ("loopback, RFC 4291", "::1", "::1"),
    (
        "local NAT64, RFC 8215",
        "64:ff9b:1::",
        "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
    ),
    ("discard, RFC 6666", "100::", "100::ffff:ffff:ffff:ffff"),
    (
        "protocol assignments, RFC 2928",
        "2001::",
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    (
        "ORCHIDv2, RFC 7343",
        "2001:20::",
        "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    (
        "documentation, RFC 3849",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    (
        "6to4, RFC 3056",
        "2002::",
        "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    (
        "documentation, RFC 9637",
        "3fff::",
        "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    (
        "segment routing, RFC 9602",
        "5f00::",
        "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    (
        "unique local, RFC 4193",
        "fc00::",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    (
        "link local, RFC 4291",
        "fe80::",
        "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    (
        "site local, RFC 3879",
        "fec0::",
        "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    (
        "multicast, RFC 4291",
        "ff00::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
];

/// Just outside of the networks above, and well-known public ones.
const PUBLIC: &[&str] = &[
    "1.0.0.0",
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2001:200::",
    "2001:4860:4860::8888",
    "2001:db7:ffff::",
    "2001:db9::",
    "2003::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80e::200e",
    "3ffe:ffff::1",
];

/// An IPv4 address in every IPv6 one that can carry it.
fn carriers(v4: Ipv4Addr) -> Vec<IpAddr> {
    let [a, b, c, d] = v4.octets().map(u16::from);
    let (high, low) = (a << 8 | b, c << 8 | d);
    let v6 = |segments: [u16; 8]| IpAddr::from(Ipv6Addr::from(segments));
    vec![
        v6([0, 0, 0, 0, 0, 0xffff, high, low]),
        v6([0x64, 0xff9b, 0, 0, 0, 0, high, low]),
        v6([0x64, 0xff9b, 1, 0, 0, 0, high, low]),
        v6([0x2002, high, low, 0, 0, 0, 0, 1]),
        v6([0x2001, 0, high, low, 0, 0, !0x0101, !0x0101]),
        v6([0x2001, 0, 0x0101, 0x0101, 0, 0, !high, !low]),
    ]
}

fn v4_of(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok()
}

#[test]
fn public_only_forbids_the_special_address_corpus() {
    let policy = AddrPolicy::public_only();
    let mut checked = 0;
    for &(name, first, last) in SPECIAL {
        for text in [first, last] {
            assert!(!policy.permits(ip(text)), "{name}: {text}");
            let carried = v4_of(text).map_or_else(Vec::new, carriers);
            for carrier in &carried {
                assert!(!policy.permits(*carrier), "{name}: {carrier}");
            }
            checked += 1 + carried.len();
        }
    }
    assert!(checked > 200, "{checked} addresses");
}

#[test]
fn public_only_permits_the_neighbours_of_special_networks() {
    let policy = AddrPolicy::public_only();
    for text in PUBLIC {
        assert!(policy.permits(ip(text)), "{text}");
        if let Some(v4) = v4_of(text) {
            // Of the carriers, NAT64 and the mapped spelling are public ways to a public address.
            for carrier in &carriers(v4)[..2] {
                assert!(policy.permits(*carrier), "{carrier}");
            }
        }
    }
}

#[test]
fn denied_loopback_is_reached_by_no_spelling() {
    let policy = AddrPolicy::any()
        .deny(net("127.0.0.0/8"))
        .deny(net("::1/128"));
    for text in [
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "::127.0.0.1",
    ] {
        assert!(!policy.permits(ip(text)), "{text}");
    }
    for carrier in carriers(Ipv4Addr::LOCALHOST) {
        assert!(!policy.permits(carrier), "{carrier}");
    }
    // Each of the two alone is about this machine, too.
    for denied in ["127.0.0.0/8", "::1/128"] {
        let policy = AddrPolicy::any().deny(net(denied));
        for text in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert!(!policy.permits(ip(text)), "{text} with {denied} denied");
        }
    }
    assert!(AddrPolicy::any().permits(ip("0.0.0.0")));
    assert!(
        AddrPolicy::none()
            .allow(net("0.0.0.0/0"))
            .permits(ip("0.0.0.0"))
    );
    assert!(
        !AddrPolicy::none()
            .allow(net("0.0.0.0/32"))
            .permits(ip("0.0.0.0"))
    );
}

#[test]
fn a_mapped_network_meets_the_addresses_it_means() {
    let spelling = AddrPolicy::any().deny(net("::ffff:0:0/96"));
    assert!(!spelling.permits(ip("::ffff:192.0.2.1")));
    assert!(
        spelling.permits(ip("192.0.2.1")),
        "or nothing could be dialled"
    );
    let private = AddrPolicy::any().deny(net("::ffff:10.0.0.0/104"));
    for text in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"] {
        assert!(!private.permits(ip(text)), "{text}");
    }
    assert!(private.permits(ip("11.1.2.3")));
    let only = AddrPolicy::none().allow(net("::ffff:10.0.0.0/104"));
    assert!(only.permits(ip("10.1.2.3")) && !only.permits(ip("11.1.2.3")));
}
