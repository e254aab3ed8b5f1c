//! The canonical name of a peer.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;

use crate::limits::{Deadline, Limits};

/// A peer as a pool knows it: scheme, host and port, in canonical form.
///
/// Two spellings of one peer are one origin: scheme and host are lower case, a default port is
/// written out, user information is gone, and an IPv6 address is in its RFC 5952 form. A trailing
/// dot is kept: with a search list, `billing.` and `billing` are different names.
///
/// Cloning counts one reference; equality and hashing read at most the host's length.
///
/// ```
/// # use tollgate_core::Origin;
/// let a: Origin = "https://user@Billing.Internal/v1".parse()?;
/// let b: Origin = "https://billing.internal:443".parse()?;
/// assert_eq!(a, b);
/// assert_eq!(a.to_string(), "https://billing.internal");
/// # Ok::<_, tollgate_core::ParseOriginError>(())
/// ```
#[derive(Clone)]
pub struct Origin(Arc<Inner>);

struct Inner {
    scheme: Box<str>,
    host: Box<str>,
    port: u16,
}

impl Origin {
    /// The origin of an absolute URI; `None` without a scheme or a host.
    pub fn from_uri(uri: &Uri) -> Option<Self> {
        OriginRef::from_uri(uri).map(OriginRef::to_origin)
    }

    /// The scheme, lower case.
    pub fn scheme(&self) -> &str {
        &self.0.scheme
    }

    /// The host, lower case; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The port, written out even where it is the scheme's default; 0 if the scheme has none.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Returns true if the port is the one the scheme implies.
    pub fn has_default_port(&self) -> bool {
        default_port(self.scheme()) == self.port()
    }

    /// This origin, borrowed.
    pub fn as_ref(&self) -> OriginRef<'_> {
        OriginRef {
            scheme: self.scheme(),
            host: self.host(),
            port: self.port(),
        }
    }
}

impl FromStr for Origin {
    type Err = ParseOriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri = text.parse().map_err(|_| ParseOriginError(()))?;
        Self::from_uri(&uri).ok_or(ParseOriginError(()))
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        // Clones are the rule: the texts are read only where the allocations differ.
        Arc::ptr_eq(&self.0, &other.0) || self.as_ref() == other.as_ref()
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An origin as it stands in a URI: borrowed, so that a lookup allocates nothing.
///
/// It hashes as the [`Origin`] it stands for and compares without regard to ASCII case, so a map
/// keyed by `Origin` can be asked with it. The one spelling it does not see through is an IPv6
/// address that is not in RFC 5952 form: look up again with [`OriginRef::to_origin`] on a miss.
#[derive(Clone, Copy, Debug)]
pub struct OriginRef<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
}

impl<'a> OriginRef<'a> {
    /// The origin of an absolute URI; `None` without a scheme or a host, or with a port above 65,535.
    #[inline]
    pub fn from_uri(uri: &'a Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?;
        let (host, port) = split(uri.authority()?.as_str())?;
        let port = port.unwrap_or_else(|| default_port(scheme));
        (!host.is_empty()).then_some(Self { scheme, host, port })
    }

    /// The canonical, owned form.
    pub fn to_origin(self) -> Origin {
        Origin(Arc::new(Inner {
            scheme: self.scheme.to_ascii_lowercase().into(),
            host: canonical_host(self.host),
            port: self.port,
        }))
    }
}

impl PartialEq for OriginRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        // The cheapest first, and exact before folded: most spellings are canonical already.
        self.port == other.port
            && (self.host == other.host || self.host.eq_ignore_ascii_case(other.host))
            && (self.scheme == other.scheme || self.scheme.eq_ignore_ascii_case(other.scheme))
    }
}

impl Eq for OriginRef<'_> {}

impl PartialEq<Origin> for OriginRef<'_> {
    fn eq(&self, other: &Origin) -> bool {
        *self == other.as_ref()
    }
}

impl Hash for OriginRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_folded(self.host.as_bytes(), state);
        // http and https differ in length, which is what distinguishes nearly all schemes.
        state.write_u64(u64::from(self.port) << 32 | (self.scheme.len() as u64));
    }
}

impl fmt::Display for OriginRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if self.port == default_port(self.scheme) {
            Ok(())
        } else {
            write!(f, ":{}", self.port)
        }
    }
}

/// Hashes eight bytes at a time, with the bit set that ASCII case differs in: equal but for case
/// gives equal hashes, and the few other bytes that fall together (`@` and a backtick) are distinguished
/// apart by equality.
fn hash_folded<H: Hasher>(bytes: &[u8], state: &mut H) {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state.write_u64(u64::from_le_bytes(*word) | CASE);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    state.write_u64((u64::from_le_bytes(last) | CASE) ^ (bytes.len() as u64) << 56);
}

/// The host and the port of an authority that `http` has found valid, looked at once and from its
/// end: on the way of every request, what `Uri::host` and `Uri::port` do takes four looks.
///
/// `None` if the port is out of range.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let bytes = authority.as_bytes();
    let (mut at, mut port, mut digit) = (bytes.len(), 0_u32, 1_u32);
    while let Some(&byte @ b'0'..=b'9') = at.checked_sub(1).and_then(|before| bytes.get(before)) {
        // Saturated, not wrapped: a number of any length stays out of range.
        port = port.saturating_add(digit.saturating_mul(u32::from(byte - b'0')));
        digit = digit.saturating_mul(10);
        at -= 1;
    }
    let (end, port) = match at.checked_sub(1) {
        Some(colon) if bytes[colon] == b':' && at < bytes.len() => {
            (colon, Some(u16::try_from(port).ok()?))
        }
        // RFC 3986 section 3.2.3: the digits after the colon may be missing, and then there is no
        // port.
        Some(colon) if bytes[colon] == b':' => (colon, None),
        _ => (bytes.len(), None),
    };
    let userinfo = bytes[..end].iter().rposition(|&byte| byte == b'@');
    let start = userinfo.map_or(0, |sign| sign + 1);
    Some((&authority[start..end], port))
}

fn default_port(scheme: &str) -> u16 {
    if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") {
        443
    } else if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws") {
        80
    } else {
        0
    }
}

fn canonical_host(host: &str) -> Box<str> {
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match address.and_then(|address| address.parse::<Ipv6Addr>().ok()) {
        // std prints an IPv6 address in the form of RFC 5952.
        Some(address) => format!("[{address}]").into(),
        None => host.to_ascii_lowercase().into(),
    }
}

/// The origin of a request, for layers that work per origin.
///
/// `None` means that the request has none, as with the path-only URIs that tonic's generated
/// clients send; layers then use one key for all such requests.
pub trait HasOrigin {
    /// The origin this request is for.
    fn origin(&self) -> Option<Origin>;

    /// The same, borrowed, for a lookup that allocates nothing.
    ///
    /// `None` only means that the request cannot lend it: then [`origin`](Self::origin) decides.
    fn origin_ref(&self) -> Option<OriginRef<'_>> {
        None
    }

    /// The limits that the request carries. Default: none.
    fn limits(&self) -> Limits {
        Limits::new()
    }

    /// The deadline for getting a connection that the request carries. Default: none.
    fn deadline(&self) -> Option<Deadline> {
        None
    }
}

impl<B> HasOrigin for http::Request<B> {
    fn origin(&self) -> Option<Origin> {
        Origin::from_uri(self.uri())
    }

    fn origin_ref(&self) -> Option<OriginRef<'_>> {
        OriginRef::from_uri(self.uri())
    }

    fn limits(&self) -> Limits {
        self.extensions().get().copied().unwrap_or_default()
    }

    fn deadline(&self) -> Option<Deadline> {
        self.extensions().get().copied()
    }
}

impl HasOrigin for Uri {
    fn origin(&self) -> Option<Origin> {
        Origin::from_uri(self)
    }

    fn origin_ref(&self) -> Option<OriginRef<'_>> {
        OriginRef::from_uri(self)
    }
}

#[cfg(feature = "reqwest")]
impl HasOrigin for reqwest::Request {
    fn origin(&self) -> Option<Origin> {
        self.origin_ref().map(OriginRef::to_origin)
    }

    fn origin_ref(&self) -> Option<OriginRef<'_>> {
        let url = self.url();
        Some(OriginRef {
            scheme: url.scheme(),
            host: url.host_str().filter(|host| !host.is_empty())?,
            port: url.port_or_known_default().unwrap_or(0),
        })
    }

    /// Its own timeout, which reqwest keeps from the call to the end of the body.
    fn limits(&self) -> Limits {
        Limits {
            timeout: self.timeout().copied(),
            ..Limits::new()
        }
    }
}

/// The text is not an absolute URI with a host, such as `https://billing.internal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOriginError(());

impl fmt::Display for ParseOriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin is an absolute URI with a host, such as https://billing.internal")
    }
}

impl std::error::Error for ParseOriginError {}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;

    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn every_spelling_of_a_peer_is_one_origin() {
        for spelling in [
            "http://a.test",
            "http://A.Test/x?y",
            "http://a.test:80",
            "HTTP://u:p@a.test",
        ] {
            assert_eq!(origin(spelling), origin("http://a.test"), "{spelling}");
        }
        assert_eq!(origin("http://[0:0::1]:8080"), origin("http://[::1]:8080"));
    }

    #[test]
    fn scheme_port_host_and_dot_separate_origins() {
        let all = [
            "http://a",
            "https://a",
            "http://a:81",
            "http://b",
            "http://a.",
            "http://[::1]",
        ];
        for (i, left) in all.iter().enumerate() {
            for right in &all[i + 1..] {
                assert_ne!(origin(left), origin(right));
            }
        }
    }

    #[test]
    fn a_borrowed_origin_hashes_as_the_owned_one() {
        let state = RandomState::new();
        for text in [
            "HTTP://Long-Host-Name.Example.COM:8080/x",
            "https://a",
            "http://12345678",
        ] {
            let uri: Uri = text.parse().unwrap();
            let borrowed = OriginRef::from_uri(&uri).unwrap();
            let owned = Origin::from_uri(&uri).unwrap();
            assert_eq!(state.hash_one(borrowed), state.hash_one(&owned), "{text}");
            assert_eq!(borrowed, owned);
        }
    }

    #[test]
    fn a_lent_origin_is_the_owned_one() {
        for text in ["HTTP://A.test:80/x", "https://b", "/only/a/path"] {
            let request = http::Request::get(text).body(()).unwrap();
            let lent = request.origin_ref().map(OriginRef::to_origin);
            assert_eq!(lent, request.origin());
            assert_eq!(request.uri().origin_ref().is_some(), lent.is_some());
        }
    }

    #[test]
    fn an_invalid_origin_is_explained_by_example() {
        for text in ["", "/path", "a.test", "http://", "not a uri"] {
            let error = text.parse::<Origin>().unwrap_err();
            assert!(error.to_string().contains("https://billing.internal"));
        }
        assert_eq!(
            http::Request::get("/only/a/path")
                .body(())
                .unwrap()
                .origin(),
            None
        );
    }

    #[test]
    fn an_origin_prints_without_its_default_port() {
        assert_eq!(origin("https://a.test:443").to_string(), "https://a.test");
        assert_eq!(
            origin("https://a.test:444").to_string(),
            "https://a.test:444"
        );
        assert_eq!(origin("http://[::1]:80/").to_string(), "http://[::1]");
    }
}
