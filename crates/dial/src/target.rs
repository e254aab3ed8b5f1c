//! The target of a dial, as its URI gives it; `https` is refused here unless a TLS layer asked.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use tollgate_core::encrypted;

/// The reason for which a URI is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A part is missing or unusable.
    Invalid(&'static str),
    /// The scheme promises encryption, and no TLS layer has asked for the connection.
    Unencrypted,
}

/// The host and port of a URI, before resolution.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Lower case, without the brackets of an IPv6 address.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    /// The port stands in the URI, and overrides one that the resolver gives.
    explicit_port: bool,
}

impl Target {
    /// # Errors
    /// Without a host, and without a port where the scheme implies none.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let host = uri.host().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return Err(Refusal::Invalid("it has no host"));
        }
        // `None` is no port, or one that is no number up to 65535: without the look below the
        // scheme's own port would be dialled for the second.
        let explicit = uri.port_u16();
        if explicit.is_none() && names_port(uri) {
            return Err(Refusal::Invalid("its port is not a number up to 65535"));
        }
        let port = explicit.or_else(|| default_port(uri.scheme_str()));
        Ok(Self {
            host: host.to_ascii_lowercase().into(),
            port: port.ok_or(Refusal::Invalid(
                "it has no port, and its scheme implies none",
            ))?,
            explicit_port: explicit.is_some(),
        })
    }

    /// Of a URI that leads nowhere.
    pub(crate) fn nowhere() -> Self {
        Self {
            host: "".into(),
            port: 0,
            explicit_port: false,
        }
    }

    /// The address, if the host is one: then there is nothing to resolve.
    pub(crate) fn literal(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }

    /// A resolver's address with the port to dial: the URI's if it is written there or the resolver
    /// gives none, as hyper-util's connector has it.
    pub(crate) fn with_port(&self, mut addr: SocketAddr) -> SocketAddr {
        if self.explicit_port || addr.port() == 0 {
            addr.set_port(self.port);
        }
        addr
    }
}

/// Allows `http`, and `https` for the TLS layer above that has asked for it; for a host that leads to
/// a Unix socket any scheme but those that promise encryption.
///
/// # Errors
/// The scheme is another one, or there is none.
pub(crate) fn check_scheme(uri: &Uri, below_tls: bool, to_unix: bool) -> Result<(), Refusal> {
    match uri.scheme_str() {
        Some("http") => Ok(()),
        // Compared as the TLS layers do: what they would pass on in clear text is refused here.
        Some("https") if below_tls || encrypted::is_asked_for(uri) => Ok(()),
        Some(scheme) if promises_encryption(scheme) => Err(Refusal::Unencrypted),
        Some(_) if to_unix => Ok(()),
        Some(_) => Err(Refusal::Invalid("its scheme is neither http nor https")),
        None => Err(Refusal::Invalid("it has no scheme")),
    }
}

fn promises_encryption(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
}

/// Returns `true` if something other than an empty port follows the host: `http` accepts what is no number.
fn names_port(uri: &Uri) -> bool {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // Behind the user information, which may hold colons of its own.
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    let after_host = match host_and_port.rsplit_once(']') {
        Some((_, after_address)) => after_address,
        None => host_and_port.split_once(':').map_or("", |(_, port)| port),
    };
    !after_host.trim_start_matches(':').is_empty()
}

fn default_port(scheme: Option<&str>) -> Option<u16> {
    match scheme? {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}
