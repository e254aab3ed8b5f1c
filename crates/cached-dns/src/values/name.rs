//! Host names as the cache sees them: folded to lower case, checked, and distinguished from literals.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use quick_cache::Equivalent;

/// RFC 1035 §2.3.4, without the trailing dot.
const MAX_NAME: usize = 253;
/// RFC 1035 §2.3.4.
const MAX_LABEL: usize = 63;

/// The key of an entry: the name in lower case, its trailing dot kept.
///
/// With a search list `a.b` and `a.b.` are different questions, so they are different keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(Arc<str>);

impl Key {
    pub(crate) fn new(name: &str) -> Self {
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            Self(name.to_ascii_lowercase().into())
        } else {
            Self(name.into())
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn to_arc(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Folded(&self.0).hash(state);
    }
}

/// A name in any case: finds its [`Key`] without an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded<'a>(pub(crate) &'a str);

impl Hash for Folded<'_> {
    /// Eight bytes at a time. Setting bit 5 folds letters, and also a few other characters that
    /// a comparison then tells apart.
    fn hash<H: Hasher>(&self, state: &mut H) {
        const FOLD: u64 = 0x2020_2020_2020_2020;
        let mut chunks = self.0.as_bytes().chunks_exact(8);
        for chunk in &mut chunks {
            let chunk = chunk.try_into().unwrap_or_default();
            state.write_u64(u64::from_le_bytes(chunk) | FOLD);
        }
        let mut rest = [0; 8];
        let tail = chunks.remainder();
        rest[..tail.len()].copy_from_slice(tail);
        state.write_u64((u64::from_le_bytes(rest) | FOLD) ^ ((self.0.len() as u64) << 56));
    }
}

impl Equivalent<Key> for Folded<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0.eq_ignore_ascii_case(&key.0)
    }
}

/// The address that `name` spells, with or without the brackets of a URI.
pub(crate) fn literal(name: &str) -> Option<IpAddr> {
    let bytes = name.as_bytes();
    // By the first byte where that is enough: every lookup comes here, and most are for names.
    match bytes.first()? {
        b'[' => {
            let inner = name.strip_prefix('[')?.strip_suffix(']')?;
            inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        b'0'..=b'9' => name.parse().ok(),
        _ if bytes.contains(&b':') => name.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    }
}

/// `localhost` and everything below it (RFC 6761 §6.3).
pub(crate) fn is_localhost(name: &str) -> bool {
    is_or_ends_with(name, "localhost")
}

/// `invalid` and everything below it, which exists nowhere (RFC 6761 §6.4).
pub(crate) fn is_never_found(name: &str) -> bool {
    is_or_ends_with(name, "invalid")
}

fn is_or_ends_with(name: &str, zone: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    let Some(start) = name.len().checked_sub(zone.len()) else {
        return false;
    };
    name[start..].eq_ignore_ascii_case(zone.as_bytes()) && (start == 0 || name[start - 1] == b'.')
}

/// Returns true if the name can be asked for at all: no empty or overlong label, not too long, printable.
pub(crate) fn is_valid(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_graphic())
        && name
            .split('.')
            .all(|label| (1..=MAX_LABEL).contains(&label.len()))
}

/// The zones above `name`, nearest first: `b.c` and `c` for `a.b.c`.
pub(crate) fn zones(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
    dots.filter(|zone| !zone.is_empty())
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn keys_ignore_case_but_not_the_trailing_dot() {
        let hasher = foldhash::fast::RandomState::default();
        let key = Key::new("API.Example.com");
        for name in ["api.example.com", "API.EXAMPLE.COM"] {
            assert!(Folded(name).equivalent(&key));
            assert_eq!(hasher.hash_one(Folded(name)), hasher.hash_one(&key));
        }
        assert!(!Folded("api.example.com.").equivalent(&key));
        assert_ne!(
            hasher.hash_one(Folded("api.example.com.")),
            hasher.hash_one(&key)
        );
    }

    #[test]
    fn folded_hash_collisions_stay_different_names() {
        assert!(!Folded("a@b").equivalent(&Key::new("a`b")));
    }

    #[test]
    fn literals_are_told_from_names() {
        for (name, literal_of) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("::1", Some("::1")),
            ("[::1]", Some("::1")),
            ("fe80::1", Some("fe80::1")),
            ("[127.0.0.1]", None),
            ("127.1", None),
            ("2130706433", None),
            ("1and1.example", None),
            ("a:b", None),
            ("", None),
        ] {
            assert_eq!(
                literal(name),
                literal_of.map(|l| l.parse().unwrap()),
                "{name}"
            );
        }
    }

    #[test]
    fn localhost_is_a_zone_and_not_a_suffix() {
        for name in ["localhost", "LOCALHOST.", "a.localhost", "b.a.localhost."] {
            assert!(is_localhost(name), "{name}");
        }
        for name in ["notlocalhost", "localhost.example", "", "."] {
            assert!(!is_localhost(name), "{name}");
        }
        assert!(is_never_found("a.invalid") && !is_never_found("invalid.example"));
    }

    #[test]
    fn names_that_cannot_be_sent_are_rejected() {
        let label = "a".repeat(63);
        let long = [label.as_str(); 4].join(".");
        for name in ["a", "a.b.", "_srv.a-b.c", label.as_str()] {
            assert!(is_valid(name), "{name}");
        }
        let overlong = format!("{label}a");
        for name in ["", ".", "a..b", ".a", "a b", "é", "a\0", &long, &overlong] {
            assert!(!is_valid(name), "{name:?}");
        }
    }

    #[test]
    fn zones_come_nearest_first() {
        assert_eq!(zones("a.b.c").collect::<Vec<_>>(), ["b.c", "c"]);
        assert_eq!(zones("a.b.").collect::<Vec<_>>(), ["b."]);
        assert_eq!(zones("a").count(), 0);
    }
}
