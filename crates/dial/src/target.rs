//! Where a URI leads to.

use std::net::{IpAddr, SocketAddr};

use http::Uri;

/// Where a URI leads to, before resolution.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Lower case, without the brackets of an IPv6 address.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    /// Whether the port stands in the URI: then it overrides one that the resolver gives.
    explicit_port: bool,
}

impl Target {
    /// # Errors
    /// What is missing.
    pub(crate) fn of(uri: &Uri) -> Result<Self, &'static str> {
        let host = uri.host().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return Err("it has no host");
        }
        let explicit = uri.port_u16();
        let port = explicit.or_else(|| default_port(uri.scheme_str()));
        Ok(Self {
            host: host.to_ascii_lowercase().into(),
            port: port.ok_or("it has no port, and its scheme implies none")?,
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

fn default_port(scheme: Option<&str>) -> Option<u16> {
    match scheme? {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}
