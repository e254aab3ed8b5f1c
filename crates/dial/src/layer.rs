//! The options of a dial.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::AttemptOutcome;
use tower_layer::Layer;

use crate::attempt::TcpAttempt;
use crate::config::{Config, Shared};
use crate::memory::Memory;
use crate::policy::AddrPolicy;
use crate::race::MIN_GAP;
use crate::service::Dial;

/// Makes a [`Dial`] of a resolver. The [crate's documentation](crate) says what it does.
///
/// Each `Dial` that it makes learns for itself; the clones of one learn together.
#[derive(Clone, Debug)]
pub struct DialLayer<A = TcpAttempt> {
    attempt: A,
    config: Config,
}

impl DialLayer {
    /// With the defaults that the options name.
    pub fn new() -> Self {
        Self::with_attempt(TcpAttempt::new())
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`). Default: on, since Nagle's algorithm
    /// holds back the second frame of an HTTP/2 burst until the peer's delayed ACK.
    #[must_use]
    pub fn nodelay(mut self, on: bool) -> Self {
        self.attempt.options_mut().nodelay = on;
        self
    }

    /// After how long a silence, and then how far apart, the peer is probed, and after how many
    /// unanswered probes the connection is dead (the number is the system's own on Windows); `None`
    /// for never. Default: 15 s and 3, as in reqwest.
    #[must_use]
    pub fn tcp_keepalive(mut self, probes: impl Into<Option<(Duration, u32)>>) -> Self {
        self.attempt.options_mut().keepalive = probes.into();
        self
    }

    /// How long sent data may stay unacknowledged (`TCP_USER_TIMEOUT`), in milliseconds; `None` for
    /// the system's own. Default: 30 s, as in reqwest. Linux only; elsewhere it does nothing.
    #[must_use]
    pub fn user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.attempt.options_mut().user_timeout = timeout.into();
        self
    }

    /// The size of the send buffer in bytes (`SO_SNDBUF`), which Linux doubles, and which switches
    /// its own sizing off. Default: the system's.
    #[must_use]
    pub fn send_buffer_size(mut self, size: impl Into<Option<usize>>) -> Self {
        self.attempt.options_mut().send_buffer = size.into();
        self
    }

    /// The size of the receive buffer in bytes (`SO_RCVBUF`), which Linux doubles, and which
    /// switches its own sizing off. Default: the system's.
    #[must_use]
    pub fn recv_buffer_size(mut self, size: impl Into<Option<usize>>) -> Self {
        self.attempt.options_mut().recv_buffer = size.into();
        self
    }

    /// The local address to dial from; to be called once for each family that is to be dialled. If
    /// one family has one and the other does not, the other is not dialled: its connections would
    /// leave by an address that nobody chose. Default: the system's choice, both families.
    ///
    /// On Linux with `IP_BIND_ADDRESS_NO_PORT`, so that a local port is taken for one destination
    /// and not for all.
    #[must_use]
    pub fn local_address(mut self, addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(v4) => self.attempt.options_mut().local_v4 = Some(v4),
            IpAddr::V6(v6) => self.attempt.options_mut().local_v6 = Some(v6),
        }
        self.config.only = self.attempt.only_family();
        self
    }

    /// The network interface to dial from, such as `eth1` (`SO_BINDTODEVICE`). Default: by route.
    /// Linux only; elsewhere it does nothing.
    #[must_use]
    pub fn interface(mut self, name: impl Into<Box<str>>) -> Self {
        self.attempt.options_mut().interface = Some(name.into());
        self
    }
}

impl Default for DialLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> DialLayer<A> {
    /// With another attempt than TCP: a `Service<SocketAddr>` that connects to one address. If it
    /// includes a handshake, then that decides the race.
    ///
    /// An attempt has no time limit of its own here; a timeout layer round `attempt` gives it one.
    pub const fn with_attempt(attempt: A) -> Self {
        Self {
            attempt,
            config: Config::DEFAULT,
        }
    }

    /// From the start of one attempt to the start of the next while nothing fails, 10 ms at least.
    /// Default: 250 ms (RFC 8305).
    #[must_use]
    pub fn attempt_delay(mut self, delay: Duration) -> Self {
        self.config.pace.attempt_delay = delay.max(MIN_GAP);
        self
    }

    /// How many attempts are open at a time. Default: 6. With 1, an address that does not answer
    /// holds up the others until the system gives it up.
    #[must_use]
    pub const fn max_concurrent(mut self, attempts: NonZeroUsize) -> Self {
        self.config.pace.max_concurrent = attempts.get();
        self
    }

    /// How many addresses of the first family are tried before the first one of the other; from then
    /// on the families take turns. Default: 1 (RFC 8305).
    #[must_use]
    pub const fn first_family_count(mut self, addresses: NonZeroUsize) -> Self {
        self.config.pace.first_family_count = addresses.get();
        self
    }

    /// How long the dial waits for IPv6 when the resolver has IPv4 only and says that more is to come,
    /// counted from when it had the IPv4 addresses. Default: 50 ms (RFC 8305).
    ///
    /// Addresses that come after it join the race at its tail, and a dial of which every attempt has
    /// failed waits for them. A resolver says so through [`tollgate_core::late`], as Tollgate's cache
    /// over a hickory does; with any other one this makes no difference.
    #[must_use]
    pub const fn resolution_delay(mut self, delay: Duration) -> Self {
        self.config.resolution_delay = delay;
        self
    }

    /// How long the whole dial may take, name resolution included, from the first poll of its
    /// future; `None` for as long as the resolver and the system take. Default: 10 s, above the 5 s
    /// of Tollgate's client, whose connect timeout covers TLS too and is the one to set there.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config.connect_timeout = timeout.into();
        self
    }

    /// Which addresses may be dialled. Default: any.
    #[must_use]
    pub fn policy(mut self, policy: AddrPolicy) -> Self {
        self.config.policy = policy;
        self
    }

    /// Leads the URIs of this host to a Unix socket: `http://docker/v1.43/info` after
    /// `unix_socket("docker", "/var/run/docker.sock")`. Scheme and port of the URI do not matter,
    /// the resolver is not asked, and the address policy has no say.
    #[must_use]
    pub fn unix_socket(mut self, host: &str, path: impl Into<PathBuf>) -> Self {
        let entry = (host.to_ascii_lowercase().into(), path.into());
        self.config.unix.push(entry);
        self
    }

    /// Is told how each attempt ended, so that whoever owns the addresses can put dead ones last.
    ///
    /// Of every attempt that was started and has ended: the winner is `Connected`, those that it
    /// overtook `Abandoned`, which is no failure. Attempts that end because the dial was dropped
    /// are not told of. Called from the dial's poll, under no lock.
    #[must_use]
    pub fn on_outcome(
        mut self,
        on_outcome: impl Fn(SocketAddr, AttemptOutcome) + Send + Sync + 'static,
    ) -> Self {
        self.config.on_outcome = Some(Arc::new(on_outcome));
        self
    }
}

impl<R, A: Clone> Layer<R> for DialLayer<A> {
    type Service = Dial<R, A>;

    fn layer(&self, resolver: R) -> Self::Service {
        let shared = Shared {
            config: self.config.clone(),
            memory: Memory::default(),
        };
        Dial::with(resolver, self.attempt.clone(), Arc::new(shared))
    }
}
