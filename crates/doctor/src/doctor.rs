//! `tollgate doctor`: this host and one origin, worst first.

mod ask;
mod host;
mod keep_alive;
mod names;
mod origin;
mod pool;
mod report;
mod resolv;
mod wire;
mod words;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use tollgate_core::BoxError;
use tollgate_sockets::Ports;

pub use report::{Check, IDS, Report, Status};
pub(crate) use words::{percent, time};

use wire::Target;

/// Longer than the pool's own idle timeout of 30 s: what closes later than that does no harm.
pub const IDLE: Duration = Duration::from_secs(35);

/// Enough to meet a small limit, and few enough to be no load.
pub const CONNECTIONS: usize = 32;

/// An examination to be made.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let report = tollgate_doctor::Doctor::new("https://billing.internal/health".parse()?)
///     .run(|step| eprintln!("{step}"))
///     .await?;
/// println!("{report}");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is examined before run"]
pub struct Doctor {
    uri: Uri,
    idle: Duration,
    connections: usize,
    ca: Option<Vec<u8>>,
    stats: Option<String>,
    pid: Option<u32>,
    resolv_conf: PathBuf,
}

impl Doctor {
    /// Of the origin of this URL, which is asked for by GET a few dozen times.
    pub fn new(uri: Uri) -> Self {
        Self {
            uri,
            idle: IDLE,
            connections: CONNECTIONS,
            ca: None,
            stats: None,
            pid: None,
            resolv_conf: "/etc/resolv.conf".into(),
        }
    }

    /// The longest that an idle connection is watched for its close: [`IDLE`].
    pub const fn idle(mut self, longest: Duration) -> Self {
        self.idle = longest;
        self
    }

    /// The number of connections that are opened at once, each with one request: [`CONNECTIONS`]. At
    /// most 1,024.
    pub const fn connections(mut self, most: usize) -> Self {
        self.connections = if most > 1_024 { 1_024 } else { most };
        self
    }

    /// Certificates to trust besides Mozilla's, in PEM.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// The `/stats` of the application that calls the origin: its limits are compared with its load.
    pub fn stats(mut self, url: impl Into<String>) -> Self {
        self.stats = Some(url.into());
        self
    }

    /// The process whose descriptors count, in the place of this one.
    pub const fn pid(mut self, pid: u32) -> Self {
        self.pid = Some(pid);
        self
    }

    /// Reads the nameservers from this file: `/etc/resolv.conf`.
    pub fn resolv_conf(mut self, path: impl Into<PathBuf>) -> Self {
        self.resolv_conf = path.into();
        self
    }

    /// Examines everything, and calls `progress` with what it is about to do.
    ///
    /// Every step is bounded: 3 s for a connect and a handshake, 6 s for an exchange, 3 s for a
    /// nameserver, and what [`idle`](Self::idle) returns.
    ///
    /// # Errors
    ///
    /// If the URL is none of `http` or `https`, or [`ca`](Self::ca) is not PEM. What cannot be
    /// measured is a check with [`Status::Skipped`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes every connection it has opened.
    pub async fn run(self, mut progress: impl FnMut(&str)) -> Result<Report, BoxError> {
        let target = Target::new(self.uri.clone(), self.ca.as_deref())?;
        progress("this host: descriptors, local ports");
        let ports = Ports::read();
        let mut checks = vec![
            host::descriptors(self.pid),
            host::local_ports(ports.as_ref()),
        ];
        progress("nameservers and the name");
        let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
        let (resolv_conf, hosts) = (read(&self.resolv_conf), read("/etc/hosts".as_ref()));
        let names = names::examine(&target.host, &resolv_conf, &hosts).await;
        checks.extend(names.checks);
        let addrs = names
            .addrs
            .iter()
            .map(|ip| SocketAddr::new(*ip, target.port()));
        let addrs: Vec<_> = addrs.collect();
        if !addrs.is_empty() {
            // Before the first connection of our own.
            checks.push(host::time_wait(&addrs, ports.as_ref()));
            checks.extend(self.origin(&target, &addrs, &mut progress).await);
        }
        if let Some(url) = &self.stats {
            progress("the pool's limits and load, for 5 s");
            checks.extend(pool::examine(url).await);
        }
        Ok(Report::new(self.uri.to_string(), checks))
    }

    async fn origin(
        &self,
        target: &Target,
        addrs: &[SocketAddr],
        progress: &mut impl FnMut(&str),
    ) -> Vec<Check> {
        progress("each address: connect, TLS, ALPN");
        let addresses = origin::addresses(target, addrs).await;
        let mut checks = addresses.checks;
        let Some(addr) = addresses.good else {
            return checks;
        };
        progress(&format!(
            "an idle connection, for at most {}",
            time(self.idle)
        ));
        let kept = keep_alive::examine(target, addr, self.idle).await;
        checks.extend(kept.checks);
        // Connections that the server closes after one answer are not open at once.
        if kept.keeps && self.connections > 0 {
            progress(&format!("{} connections at once", self.connections));
            checks.push(origin::connections(target, addr, self.connections).await);
        }
        checks
    }
}
