use super::*;

fn parse(text: &str) -> ResolvConf {
    ResolvConf::parse(text.as_bytes())
}

fn servers(text: &str) -> Vec<String> {
    let each = parse(text).servers.into_iter();
    each.map(|addr| addr.to_string()).collect()
}

#[test]
fn nameservers_parse_as_inet_aton_and_pton_do() {
    let text = "nameserver 10.0.0.1\n nameserver 10.0.0.2\nnameserver\t10.0.0.3;x\n\
                nameserver 127.1\nnameserver 0x7f000002\nnameserver ::1\nnameserver nine\n\
                nameserver 300.1.1.1\n; nameserver 1.1.1.1\nnameserver 0177.0.0.3 # x\n";
    let read = [
        "10.0.0.1:0",
        "10.0.0.3:0",
        "127.0.0.1:0",
        "127.0.0.2:0",
        "[::1]:0",
        "127.0.0.3:0",
    ];
    assert_eq!(servers(text), read);
}

#[test]
fn a_link_local_server_keeps_its_scope() {
    assert_eq!(servers("nameserver fe80::1%7\n"), ["[fe80::1%7]:0"]);
    #[cfg(target_os = "linux")]
    assert_eq!(servers("nameserver fe80::1%lo\n"), ["[fe80::1%1]:0"]);
    assert!(servers("nameserver fe80::1%no-such-interface\n").is_empty());
}

#[test]
fn the_last_search_list_counts_without_invalid_names() {
    let of = |text| {
        let names = parse(text).search.into_iter();
        names.map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        of("search a.test b.test\ndomain c.test d.test\n"),
        ["c.test."]
    );
    let long = format!("search {} .ok.test -- .\n", "x".repeat(64));
    assert_eq!(of(&long), ["ok.test.", "."]);
    assert_eq!(of("search a.test\nsearch\n"), ["a.test."]);
}

#[test]
fn options_are_honoured_within_the_bounds_of_glibc() {
    let conf = parse("options ndots:99 timeout:99 rotate\noptions attempts:9 use-vc no-aaaa\n");
    assert_eq!(
        (conf.ndots, conf.rotate, conf.use_vc, conf.no_aaaa),
        (15, true, true, true)
    );
    assert_eq!(conf.timeout(), Some(Duration::from_secs(30)));
    assert_eq!(conf.limit(), Some(Duration::from_secs(150)));
    assert_eq!(
        parse("options timeout:0\n").limit(),
        Some(Duration::from_secs(2))
    );
    assert_eq!(
        parse("options attempts:1\n").limit(),
        Some(Duration::from_secs(5))
    );
    assert_eq!(parse("nameserver 1.1.1.1\n").limit(), None);
}
