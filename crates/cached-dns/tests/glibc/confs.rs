//! The configurations of the grid: a `resolv.conf`, a hosts file, and the names to ask for.

use crate::names::{few, one_server, pinned, searched, three_servers, two_servers};

pub(crate) struct Conf {
    pub(crate) label: &'static str,
    pub(crate) servers: &'static str,
    pub(crate) hosts: &'static str,
    /// What stands in `resolv.conf` after a first lookup.
    pub(crate) replaced_by: Option<&'static str>,
    names: fn() -> Vec<String>,
}

impl Conf {
    pub(crate) fn names(&self) -> Vec<String> {
        (self.names)()
    }
}

const fn conf(label: &'static str, servers: &'static str, names: fn() -> Vec<String>) -> Conf {
    Conf {
        label,
        servers,
        hosts: "127.0.0.1 localhost\n",
        replaced_by: None,
        names,
    }
}

/// These lines, with times that make a silent one cheap.
macro_rules! brief {
    ($($line:literal)*) => {
        concat!($($line, "\n",)* "options timeout:1 attempts:2\n")
    };
}

const HOSTS: &str = "127.0.0.1 localhost\n\
    10.9.0.1 pin4.test pin4\n\
    fd99::1 pin6.test\n\
    10.9.0.2 both.test\n\
    fd99::2 both.test\n\
    10.9.0.3 lines.test\n\
    10.9.0.4 lines.test\n\
    10.9.0.5 canonical.test alias.test\n\
    10.9.0.6 UPPER.test\n\
    10.9.0.7 comment.test # behind.test\n\
    # 10.9.0.8 behind.test\n\
    10.9.0.9 crlf.test\r\n\
    10.9.0.999 bad.test\n\
    10.9.0.11 s-ok.pinned.test\n\
    10.9.0.12\t\ttab.test\n\
    ::ffff:10.9.0.13 mapped.test\n\
    10.9.0.14 twice.test twice.test\n\
    10.9.0.15 dotted.test.\n\
    \x20 10.9.0.16 leading.test\n";

const SEARCH: &str = brief!("nameserver 127.0.0.1" "search one.test two.test three.test");

const PLAIN: &[Conf] = &[
    conf("one", brief!("nameserver 127.0.0.1"), one_server),
    conf(
        "one-edns0",
        brief!("nameserver 127.0.0.1" "options edns0"),
        one_server,
    ),
    conf(
        "one-use-vc",
        brief!("nameserver 127.0.0.1" "options use-vc"),
        one_server,
    ),
    conf(
        "one-no-aaaa",
        brief!("nameserver 127.0.0.1" "options no-aaaa"),
        one_server,
    ),
    conf(
        "two",
        brief!("nameserver 127.0.0.1" "nameserver 127.0.0.2"),
        two_servers,
    ),
    conf(
        "three",
        brief!("nameserver 127.0.0.1" "nameserver 127.0.0.2" "nameserver 127.0.0.3"),
        three_servers,
    ),
    conf(
        "first-closed",
        brief!("nameserver 127.0.0.9" "nameserver 127.0.0.1"),
        one_server,
    ),
    conf("all-closed", brief!("nameserver 127.0.0.9"), few),
    conf(
        "fourth",
        brief!("nameserver 127.0.0.8" "nameserver 127.0.0.9" "nameserver 127.0.0.10" "nameserver 127.0.0.1"),
        few,
    ),
    conf("search-1", SEARCH, searched),
    conf(
        "search-2",
        brief!("nameserver 127.0.0.1" "search one.test two.test three.test" "options ndots:2"),
        searched,
    ),
    conf(
        "search-5",
        brief!("nameserver 127.0.0.1" "search one.test two.test three.test" "options ndots:5"),
        searched,
    ),
    conf(
        "search-0",
        brief!("nameserver 127.0.0.1" "search one.test two.test three.test" "options ndots:0"),
        few,
    ),
    conf(
        "ndots-99",
        brief!("nameserver 127.0.0.1" "search one.test two.test three.test" "options ndots:99"),
        few,
    ),
    conf(
        "ndots-none",
        brief!("nameserver 127.0.0.1" "search one.test two.test three.test" "options ndots:x"),
        few,
    ),
    conf(
        "no-tld-query",
        brief!("nameserver 127.0.0.1" "search one.test two.test three.test" "options no-tld-query"),
        few,
    ),
    conf(
        "domain",
        brief!("nameserver 127.0.0.1" "domain two.test"),
        few,
    ),
    conf(
        "domain-last",
        brief!("nameserver 127.0.0.1" "search one.test" "domain two.test three.test"),
        few,
    ),
    conf(
        "search-last",
        brief!("nameserver 127.0.0.1" "domain two.test" "search one.test"),
        few,
    ),
    conf(
        "search-empty",
        brief!("nameserver 127.0.0.1" "search one.test" "search"),
        few,
    ),
    conf(
        "search-root",
        brief!("nameserver 127.0.0.1" "search . one.test"),
        few,
    ),
    conf(
        "search-dots",
        brief!("nameserver 127.0.0.1" "search .one.test two.test."),
        few,
    ),
    conf(
        "search-bad",
        brief!("nameserver 127.0.0.1" "search one..test two.test"),
        few,
    ),
    conf(
        "search-long",
        brief!("nameserver 127.0.0.1" "search xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.test two.test"),
        few,
    ),
    conf("no-search", brief!("nameserver 127.0.0.1"), few),
    conf("empty", "", few),
    conf(
        "comments",
        brief!("; one" "# two" "nameserver 127.0.0.1 # home" "#nameserver 127.0.0.9"),
        few,
    ),
    conf(
        "spaces",
        brief!("  nameserver 127.0.0.9" "nameserver   127.0.0.1" "search\tone.test\t two.test"),
        few,
    ),
    conf(
        "crlf",
        "nameserver 127.0.0.1\r\nsearch one.test two.test\r\noptions timeout:1\r\n",
        few,
    ),
    conf("legacy-address", brief!("nameserver 127.1"), few),
    conf(
        "bad-address",
        brief!("nameserver nowhere" "nameserver 1.2.3.4.5" "nameserver 127.0.0.1"),
        few,
    ),
    conf("no-newline", "options timeout:1\nnameserver 127.0.0.1", few),
    conf(
        "unknown-lines",
        brief!("nameservers 127.0.0.9" "sortlist 10.0.0.0" "lookup file bind" "nameserver 127.0.0.1" "options color:blue"),
        few,
    ),
    conf(
        "binary",
        "\u{1}\u{2}\u{0}\nnameserver 127.0.0.1\n\u{ff}\u{fe}\noptions timeout:1\n",
        few,
    ),
    conf("scoped", brief!("nameserver fe80::53%lo"), few),
    conf("scoped-number", brief!("nameserver fe80::53%1"), few),
    conf(
        "timeout-0",
        "nameserver 127.0.0.1\noptions timeout:0 attempts:1\n",
        few,
    ),
    conf(
        "attempts-0",
        "nameserver 127.0.0.1\noptions timeout:1 attempts:0\n",
        few,
    ),
    conf(
        "single-request",
        brief!("nameserver 127.0.0.1" "options single-request-reopen"),
        one_server,
    ),
    conf(
        "same-twice",
        brief!("nameserver 127.0.0.1" "nameserver 127.0.0.1"),
        few,
    ),
];

/// With names in the hosts file.
const PINNED: &[Conf] = &[
    Conf {
        hosts: HOSTS,
        ..conf("hosts", brief!("nameserver 127.0.0.1"), pinned)
    },
    Conf {
        hosts: HOSTS,
        ..conf("hosts-search", SEARCH, pinned)
    },
    Conf {
        hosts: "",
        ..conf("hosts-empty", brief!("nameserver 127.0.0.1"), pinned)
    },
    Conf {
        hosts: HOSTS,
        ..conf("hosts-dead-dns", brief!("nameserver 127.0.0.9"), pinned)
    },
];

/// With another `resolv.conf` after the first lookup.
const REPLACED: &[Conf] = &[
    Conf {
        replaced_by: Some(brief!("nameserver 127.0.0.2" "search two.test")),
        ..conf("replaced", brief!("nameserver 127.0.0.1"), few)
    },
    Conf {
        replaced_by: Some(brief!("nameserver 127.0.0.1" "search one.test")),
        ..conf("repaired", "", few)
    },
];

pub(crate) fn all() -> Vec<&'static Conf> {
    [PLAIN, PINNED, REPLACED].into_iter().flatten().collect()
}
