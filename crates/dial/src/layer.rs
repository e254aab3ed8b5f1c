//! The options of a dial.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::AttemptOutcome;
use tower_layer::Layer;

use crate::attempt::TcpAttempt;
use crate::config::{Config, MAX_DELAY, Shared};
use crate::memory::Memory;
use crate::policy::AddrPolicy;
use crate::race::MIN_GAP;
use crate::service::Dial;
use crate::socket::Setting;

/// Makes a [`Dial`] of a resolver. See the [crate's documentation](crate).
///
/// Each `Dial` that it makes learns for itself; the clones of one learn together.
#[derive(Clone, Debug)]
pub struct DialLayer<A = TcpAttempt> {
    attempt: A,
    config: Config,
}

/// Socket options. The defaults are set where the system has them; an option that is set here has to be
/// set, or the attempt fails.
impl DialLayer {
    /// With the defaults that the options name.
    pub fn new() -> Self {
        Self::with_attempt(TcpAttempt::new())
    }

    /// Sends small writes at once (`TCP_NODELAY`). Default: on, since Nagle's algorithm
    /// holds back the second frame of an HTTP/2 burst until the peer's delayed ACK.
    #[must_use]
    pub fn nodelay(mut self, on: bool) -> Self {
        self.attempt.options_mut().nodelay = Setting::asked_for(on);
        self
    }

    /// The silence after which, and the interval at which, the peer is probed, and the number of
    /// unanswered probes after which the connection is dead (the number is the system's own on Windows); `None`
    /// for never. Default: 15 s and 3, as in reqwest. Clamped to whole seconds from 1 to 32,767, and 1 to 127
    /// probes, which is what Linux takes.
    #[must_use]
    pub fn tcp_keepalive(mut self, probes: impl Into<Option<(Duration, u32)>>) -> Self {
        self.attempt.options_mut().set_keepalive(probes.into());
        self
    }

    /// The longest time that sent data may stay unacknowledged (`TCP_USER_TIMEOUT`), in milliseconds from 1
    /// to 2,147,483,647, to which it is clamped; `None` for the system's own. Default: 30 s, as in reqwest.
    /// Linux only; elsewhere it does nothing.
    #[must_use]
    pub fn user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.attempt.options_mut().set_user_timeout(timeout.into());
        self
    }

    /// The size of the send buffer in bytes (`SO_SNDBUF`), which Linux doubles, and which switches
    /// its own sizing off. Default: the system's.
    #[must_use]
    pub fn send_buffer_size(mut self, size: impl Into<Option<usize>>) -> Self {
        self.attempt.options_mut().set_send_buffer(size.into());
        self
    }

    /// The size of the receive buffer in bytes (`SO_RCVBUF`), which Linux doubles, and which
    /// switches its own sizing off. Default: the system's.
    #[must_use]
    pub fn recv_buffer_size(mut self, size: impl Into<Option<usize>>) -> Self {
        self.attempt.options_mut().set_recv_buffer(size.into());
        self
    }

    /// The local address to dial from; to be called once for each family that is to be dialled. If
    /// one family has one and the other does not, the other is not dialled: its connections would
    /// leave by an address that was not chosen. Default: the system's choice, both families.
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

    /// The time from the start of one attempt to the start of the next while nothing fails, 10 ms at
    /// least and an hour at most. Default: 250 ms (RFC 8305).
    ///
    /// Where the dial has too little time for all its addresses, by its own limit or a budget above, it is
    /// cut: to an even share, but not below 100 ms, or a quarter of the time if that is less.
    #[must_use]
    pub fn attempt_delay(mut self, delay: Duration) -> Self {
        self.config.pace.attempt_delay = delay.clamp(MIN_GAP, MAX_DELAY);
        self
    }

    /// Sets the number of attempts that are open at a time. Default: 6.
    ///
    /// When so many are open and addresses are untried, the oldest attempt is closed for the next one
    /// as soon as it was open for 1 s, or for seven eighths of the dial's time if that is less.
    #[must_use]
    pub const fn max_concurrent(mut self, attempts: NonZeroUsize) -> Self {
        self.config.pace.max_concurrent = attempts.get();
        self
    }

    /// The number of addresses of the first family that are tried before the first one of the other; from then
    /// on the families take turns. Default: 1 (RFC 8305).
    #[must_use]
    pub const fn first_family_count(mut self, addresses: NonZeroUsize) -> Self {
        self.config.pace.first_family_count = addresses.get();
        self
    }

    /// The time for which a dial waits for IPv6 when the resolver has IPv4 only and announces more,
    /// counted from when it had the IPv4 addresses. Default: 50 ms (RFC 8305).
    ///
    /// Addresses that come after it join the race at its tail, and a dial of which every attempt has
    /// failed waits for them. A resolver reports so through [`tollgate_core::late`], as Tollgate's cache
    /// over a hickory does; with any other one this makes no difference.
    #[must_use]
    pub fn resolution_delay(mut self, delay: Duration) -> Self {
        self.config.resolution_delay = delay.min(MAX_DELAY);
        self
    }

    /// The longest time for the whole dial, name resolution included, from the first poll of its
    /// future; `None` for as long as the resolver and the system take. Default: 10 s where no layer
    /// above keeps a budget, such as Tollgate's connect timeout or pool, and else that budget alone.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config.connect_timeout = timeout.into();
        self.config.default_timeout = false;
        self
    }

    /// The networks that may be dialled. Default: any.
    #[must_use]
    pub fn policy(mut self, policy: AddrPolicy) -> Self {
        self.config.policy = policy;
        self
    }

    /// Dials `https` URIs too, for a TLS layer above that encrypts what it is given. Default: off, so
    /// that `https` is refused with [`DialFailure::Unencrypted`](crate::DialFailure::Unencrypted).
    ///
    /// It is for hyper-rustls' and hyper-tls' `HttpsConnector` and tonic's own TLS, in the place of
    /// hyper-util's `enforce_http(false)`. Tollgate's TLS layer asks for each connection by itself,
    /// and needs none of it. Without a TLS layer above, requests to `https` go out in clear text.
    #[must_use]
    pub const fn below_tls(mut self) -> Self {
        self.config.below_tls = true;
        self
    }

    /// Leads the URIs of this host to a Unix socket: `http://docker/v1.43/info` after
    /// `unix_socket("docker", "/var/run/docker.sock")`. The port of the URI does not matter, nor does
    /// its scheme, unless that is `https`, which takes TLS as elsewhere; the resolver is not asked,
    /// and the address policy does not apply.
    #[must_use]
    pub fn unix_socket(mut self, host: &str, path: impl Into<PathBuf>) -> Self {
        let entry = (host.to_ascii_lowercase().into(), path.into());
        self.config.unix.push(entry);
        self
    }

    /// Calls `on_outcome` with the outcome of each attempt, so that the owner of the addresses can put
    /// dead ones last.
    ///
    /// The winner is `Connected`, those that it overtook `Abandoned`, which is no failure. An attempt
    /// that had its chance when the dial's time was up is `Failed` as timed out, whether the dial's own
    /// limit ended it or a budget above dropped the dial; one that had not is not reported. Called from
    /// the dial's poll or drop, under no lock.
    #[must_use]
    pub fn on_outcome(
        mut self,
        on_outcome: impl Fn(SocketAddr, AttemptOutcome) + Send + Sync + 'static,
    ) -> Self {
        self.config.on_outcome = Some(Arc::new(on_outcome));
        self
    }

    /// Calls `on_all_failed` with the host of a dial that ended without success once an attempt had its
    /// chance, so that a DNS cache asks anew.
    ///
    /// As for [`on_outcome`](Self::on_outcome), it does not matter what ended the dial: the last failure,
    /// its own time limit, or a drop. Nor does it matter if the time was too short for every address:
    /// an answer may be longer than the budgets of many dials.
    #[must_use]
    pub fn on_all_failed(mut self, on_all_failed: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.config.on_all_failed = Some(Arc::new(on_all_failed));
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
