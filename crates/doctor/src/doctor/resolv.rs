//! The system's `resolv.conf` and `hosts`.

use std::net::IpAddr;

/// The part of `resolv.conf` that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolv {
    pub(crate) nameservers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) ndots: usize,
}

/// As many as the C library asks.
const MAX_NAMESERVERS: usize = 3;

/// As many as hickory tries; the C library has no limit any more.
const MAX_SEARCH: usize = 6;

impl Resolv {
    pub(crate) fn parse(text: &str) -> Self {
        let mut resolv = Self {
            nameservers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A link-local address may carry its interface.
                    let addr: Option<IpAddr> = words
                        .next()
                        .and_then(|word| word.split('%').next()?.parse().ok());
                    resolv.nameservers.extend(addr);
                }
                // The last one counts.
                Some("search" | "domain") => {
                    resolv.search = words.map(str::to_owned).take(MAX_SEARCH).collect();
                }
                Some("options") => {
                    let mut ndots =
                        words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    resolv.ndots = ndots.next_back().unwrap_or(resolv.ndots);
                }
                _ => {}
            }
        }
        resolv.nameservers.truncate(MAX_NAMESERVERS);
        resolv
    }

    /// The names that a host may stand for, in the order in which the C library asks for them.
    pub(crate) fn candidates(&self, host: &str) -> Vec<String> {
        let itself = format!("{}.", host.trim_end_matches('.'));
        if host.ends_with('.') {
            return vec![itself];
        }
        let searched = self
            .search
            .iter()
            .map(|domain| format!("{host}.{}.", domain.trim_matches('.')));
        let mut names: Vec<_> = searched.collect();
        let dots = host.matches('.').count();
        // resolv.conf(5): with fewer dots than `ndots` the search list comes first.
        let at = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(at, itself);
        names
    }
}

/// The addresses of `host` in a hosts file.
pub(crate) fn in_hosts(hosts: &str, host: &str) -> Vec<IpAddr> {
    let lines = hosts.lines().filter_map(|line| {
        let line = line.split('#').next()?;
        let mut words = line.split_whitespace();
        let addr = words.next()?.parse().ok()?;
        words
            .any(|name| name.eq_ignore_ascii_case(host))
            .then_some(addr)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBERNETES: &str = "# by kubelet\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\n\
        search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:1\n";

    #[test]
    fn servers_search_list_and_ndots_are_read() {
        let resolv = Resolv::parse(KUBERNETES);
        assert_eq!(
            resolv.nameservers,
            [
                "10.96.0.10".parse::<IpAddr>().unwrap(),
                "fe80::1".parse().unwrap()
            ]
        );
        assert_eq!((resolv.search.len(), resolv.ndots), (3, 5));
        let nothing = Resolv::parse("options ndots:x\nnameserver here\n");
        assert_eq!((nothing.nameservers.len(), nothing.ndots), (0, 1));
    }

    #[test]
    fn name_below_ndots_tries_search_list_first() {
        let resolv = Resolv::parse(KUBERNETES);
        let names = resolv.candidates("api.example.com");
        assert_eq!(names.len(), 4);
        assert_eq!(names[0], "api.example.com.shop.svc.cluster.local.");
        assert_eq!(names[3], "api.example.com.");
        assert_eq!(resolv.candidates("api.example.com."), ["api.example.com."]);
        assert_eq!(resolv.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f.");
    }

    #[test]
    fn a_hosts_file_names_addresses() {
        let hosts = "127.0.0.1 localhost # loopback\n::1 localhost ip6-localhost\n10.0.0.7 Billing billing.internal\n";
        assert_eq!(in_hosts(hosts, "localhost").len(), 2);
        assert_eq!(
            in_hosts(hosts, "billing"),
            ["10.0.0.7".parse::<IpAddr>().unwrap()]
        );
        assert!(in_hosts(hosts, "loopback").is_empty());
    }
}
