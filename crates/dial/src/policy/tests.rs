use super::*;

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn public_only_permits_what_is_public() {
    let policy = AddrPolicy::public_only();
    for public in [
        "1.1.1.1",
        "93.184.215.14",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80e::200e",
        "64:ff9b::1.1.1.1",
        "::ffff:1.1.1.1",
    ] {
        assert!(policy.permits(ip(public)), "{public}");
    }
}

#[test]
fn public_only_forbids_special_purposes() {
    let policy = AddrPolicy::public_only();
    for special in [
        "0.0.0.0",
        "10.0.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.19.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "100::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "2001:2::1",
        "3fff::1",
        "5f00::1",
        "64:ff9b:1::1",
    ] {
        assert!(!policy.permits(ip(special)), "{special}");
    }
}

#[test]
fn addresses_are_looked_into() {
    let public = AddrPolicy::public_only();
    // 127.0.0.1 in each coat; the Teredo client's address is stored inverted.
    for coat in [
        "::ffff:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "2002:7f00:1::",
        "2001:0:101:101:0:0:80ff:fffe",
    ] {
        assert!(!public.permits(ip(coat)), "{coat}");
        let deny = AddrPolicy::any().deny(net("127.0.0.0/8"));
        assert!(!deny.permits(ip(coat)), "{coat}");
    }
    let teredo_server = ip("2001:0:7f00:1::");
    assert!(
        !AddrPolicy::any()
            .deny(net("127.0.0.0/8"))
            .permits(teredo_server)
    );
}

#[test]
fn a_denied_net_overrules_an_allowed_one() {
    let policy = AddrPolicy::public_only()
        .allow(net("10.20.0.0/16"))
        .deny(net("10.20.9.0/24"));
    assert!(policy.permits(ip("10.20.1.1")));
    assert!(policy.permits(ip("::ffff:10.20.1.1")));
    assert!(policy.permits(ip("64:ff9b::10.20.1.1")));
    assert!(!policy.permits(ip("10.20.9.1")));
    assert!(!policy.permits(ip("10.21.0.1")));
    assert!(AddrPolicy::none().allow(net("::1/128")).permits(ip("::1")));
    assert!(!AddrPolicy::none().permits(ip("1.1.1.1")));
    assert!(AddrPolicy::default().permits(ip("127.0.0.1")));
}

#[test]
fn an_allowed_tunnel_keeps_embedded_addresses_forbidden() {
    let policy = AddrPolicy::public_only().allow(net("2002::/16"));
    assert!(policy.permits(ip("2002:101:101::1")));
    assert!(!policy.permits(ip("2002:a00:1::1")));
}
