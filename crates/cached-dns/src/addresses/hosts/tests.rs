use super::*;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn found(hosts: &StaticHosts, name: &str) -> Option<Vec<String>> {
    let addrs = hosts.get(name)?;
    Some(addrs.iter().map(|addr| addr.ip().to_string()).collect())
}

#[test]
fn the_nearest_entry_wins() {
    let hosts = StaticHosts::new()
        .host("*.b.c", [ip(3)])
        .host("*.c", [ip(2)])
        .host("a.b.c", [ip(1)]);
    for (name, addr) in [
        ("a.b.c", Some("10.0.0.1")),
        ("A.B.C.", Some("10.0.0.1")),
        ("x.b.c", Some("10.0.0.3")),
        ("y.x.b.c", Some("10.0.0.3")),
        ("b.c", Some("10.0.0.2")),
        ("c", None),
        ("c.d", None),
    ] {
        assert_eq!(
            found(&hosts, name),
            addr.map(|a| vec![a.to_owned()]),
            "{name}"
        );
    }
}

#[test]
fn an_empty_static_host_is_not_found() {
    let hosts = StaticHosts::new()
        .host("a", [ip(1)])
        .host("A.", [ip(2)])
        .host("b", []);
    assert_eq!(found(&hosts, "a").unwrap(), ["10.0.0.2"]);
    assert_eq!(hosts.get("b"), Some(&[][..]));
}

#[test]
fn a_hosts_file_is_parsed_as_by_libc() {
    let hosts = StaticHosts::from_hosts_file(
        "127.0.0.1 localhost\n\
         10.0.0.1\tapi.test API # comment\n\
         # 10.0.0.2 off.test\n\
         10.0.0.3 api.test\n\
         not-an-address x.test\n\
         ::1 api.test.\n\
         10.0.0.4\n",
    );
    assert_eq!(
        found(&hosts, "api.test").unwrap(),
        ["10.0.0.1", "10.0.0.3", "::1"]
    );
    assert_eq!(found(&hosts, "api").unwrap(), ["10.0.0.1"]);
    assert_eq!(found(&hosts, "off.test"), None);
    assert_eq!(found(&hosts, "x.test"), None);
}

#[test]
fn two_hundred_thousand_blocked_names_take_little_room() {
    use std::fmt::Write;
    let mut text = String::new();
    for n in 0..200_000 {
        writeln!(text, "0.0.0.0 ads{n}.tracker.example").unwrap();
    }
    for n in 0..40_000_u32 {
        writeln!(text, "{} crowded.test", std::net::Ipv4Addr::from(n)).unwrap();
    }
    let mut hosts = StaticHosts::new();
    let memory = allocation_counter::measure(|| hosts = StaticHosts::from_hosts_file(&text));
    assert_eq!(
        found(&hosts, "ads199999.tracker.example").unwrap(),
        ["0.0.0.0"]
    );
    assert_eq!(hosts.get("crowded.test").unwrap().len(), 256);
    // What stays is what was allocated and not freed.
    assert!(memory.bytes_current < 12 << 20, "{memory:?}");
    assert!(memory.bytes_max < 40 << 20, "{memory:?}");
}
