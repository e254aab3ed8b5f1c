//! `resolv.conf` as glibc reads it. No file and no socket here.
//!
//! As `res_init` does: a keyword begins its line; the last `search` or `domain` counts; words that
//! make no sense are passed over, and never the rest of the file with them. Two things are not
//! glibc's: more than three servers count, and a search domain that is no name is left out
//! with a warning, where glibc fails every search that comes to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use hickory_resolver::proto::rr::Name;

/// The bounds that glibc sets (`RES_MAXNDOTS`, `RES_MAXRETRANS`, `RES_MAXRETRY`).
const MAX_NDOTS: usize = 15;
const MAX_TIMEOUT: u64 = 30;
const MAX_ATTEMPTS: u32 = 5;

/// glibc's values where only one of the two is given.
const TIMEOUT: u64 = 5;
const ATTEMPTS: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the file"
)]
pub(super) struct ResolvConf {
    /// In the order of the file, with port 0; none if the file names none.
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<Name>,
    pub(super) has_search: bool,
    pub(super) ndots: usize,
    pub(super) rotate: bool,
    pub(super) use_vc: bool,
    pub(super) no_aaaa: bool,
    pub(super) no_tld_query: bool,
    pub(super) timeout: Option<u64>,
    pub(super) attempts: Option<u32>,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            has_search: false,
            ndots: 1,
            rotate: false,
            use_vc: false,
            no_aaaa: false,
            no_tld_query: false,
            timeout: None,
            attempts: None,
        }
    }
}

impl ResolvConf {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut this = Self::default();
        for line in String::from_utf8_lossy(bytes).lines() {
            // As `MATCH` in glibc's `res_init.c`: a keyword begins its line, and a blank follows
            // it.
            let Some((keyword, rest)) = line.split_once([' ', '\t']) else {
                continue;
            };
            match keyword {
                "nameserver" => this.servers.extend(server(rest)),
                "search" => this.set_search(words(rest)),
                "domain" => this.set_search(words(rest).take(1)),
                "options" => words(rest).for_each(|option| this.option(option)),
                _ => {}
            }
        }
        this
    }

    /// The time that one server has, if it is in the file.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_secs)
    }

    /// The time that all attempts have, if it is in the file.
    pub(super) fn limit(&self) -> Option<Duration> {
        (self.timeout.is_some() || self.attempts.is_some()).then(|| {
            let timeout = Duration::from_secs(self.timeout.unwrap_or(TIMEOUT));
            timeout * self.attempts.unwrap_or(ATTEMPTS)
        })
    }

    fn set_search<'a>(&mut self, domains: impl Iterator<Item = &'a str>) {
        let mut domains = domains.peekable();
        // A keyword without words changes nothing, as in glibc: the list of an earlier line stands.
        if domains.peek().is_none() {
            return;
        }
        self.has_search = true;
        self.search = domains.filter_map(domain).collect();
    }

    fn option(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        match name {
            "ndots" => self.ndots = number(value).min(MAX_NDOTS),
            // Zero would be no time and no attempt.
            "timeout" => self.timeout = Some((number(value) as u64).clamp(1, MAX_TIMEOUT)),
            "attempts" => {
                let attempts = u32::try_from(number(value)).unwrap_or(MAX_ATTEMPTS);
                self.attempts = Some(attempts.clamp(1, MAX_ATTEMPTS));
            }
            "rotate" => self.rotate = true,
            "use-vc" | "usevc" => self.use_vc = true,
            "no-aaaa" => self.no_aaaa = true,
            "no-tld-query" | "no_tld_query" => self.no_tld_query = true,
            // EDNS is always offered; every query has a socket of its own; the file is watched.
            "edns0" | "single-request" | "single-request-reopen" | "trust-ad" | "debug" => {}
            _ => tracing::warn!(
                option,
                "resolv.conf: the option is not known and has no effect"
            ),
        }
    }
}

/// As `atoi`: the digits at the start, or 0.
fn number(value: &str) -> usize {
    let digits = value.bytes().take_while(u8::is_ascii_digit);
    digits.fold(0_usize, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'))
    })
}

fn words(rest: &str) -> impl Iterator<Item = &str> {
    rest.split([' ', '\t', '\r'])
        .filter(|word| !word.is_empty())
}

fn server(rest: &str) -> Option<SocketAddr> {
    let word = rest.trim_start_matches([' ', '\t']);
    // Where glibc ends the address, by `strcspn` with these bytes.
    let word = word
        .split([';', '#', ' ', '\t', '\r'])
        .next()
        .unwrap_or_default();
    let addr = match word.split_once('%') {
        Some((ip, scope)) => {
            let scope = scope_id(scope)?;
            ip.parse()
                .ok()
                .map(|ip| SocketAddrV6::new(ip, 0, 0, scope).into())
        }
        None => word
            .parse::<IpAddr>()
            .ok()
            .or_else(|| legacy(word))
            .map(|ip| (ip, 0).into()),
    };
    if addr.is_none() {
        tracing::warn!(
            server = word,
            "resolv.conf: a name server that is no address is left out"
        );
    }
    addr
}

/// The number of an interface, or its name.
fn scope_id(scope: &str) -> Option<u32> {
    if let Ok(id) = scope.parse() {
        return Some(id);
    }
    let index = std::fs::read_to_string(format!("/sys/class/net/{scope}/ifindex"));
    index.ok()?.trim().parse().ok()
}

/// The forms that `inet_aton` takes beside the dotted one: `127.1`, `0x7f000001`, `0177.0.0.1`.
fn legacy(word: &str) -> Option<IpAddr> {
    let parts: Vec<u32> = word.split('.').map(part).collect::<Option<_>>()?;
    let (&last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|&part| part > 255) {
        return None;
    }
    // inet_aton(3): the last part fills the bytes that are left.
    let room = 32 - 8 * u32::try_from(first.len()).ok()?;
    if room < 32 && last >> room != 0 {
        return None;
    }
    let mut addr = last;
    for (place, &part) in first.iter().enumerate() {
        addr |= part << (24 - 8 * place);
    }
    Some(Ipv4Addr::from(addr).into())
}

fn part(digits: &str) -> Option<u32> {
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // `from_str_radix` takes a sign as well, which `inet_aton` does not.
    u32::from_str_radix(digits, radix)
        .ok()
        .filter(|_| !digits.starts_with('+'))
}

fn domain(word: &str) -> Option<Name> {
    let bare = word
        .strip_prefix('.')
        .filter(|rest| !rest.is_empty())
        .unwrap_or(word);
    match Name::from_ascii(bare) {
        Ok(mut name) => {
            name.set_fqdn(true);
            Some(name)
        }
        Err(error) => {
            tracing::warn!(domain = word, %error, "resolv.conf: a search domain is left out");
            None
        }
    }
}

#[cfg(test)]
mod tests;
