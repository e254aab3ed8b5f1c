//! The options of one `DialLayer`, and what the clones of one `Dial` share.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::AttemptOutcome;

use crate::attempt::Family;
use crate::memory::Memory;
use crate::policy::AddrPolicy;
use crate::race::Pace;

/// RFC 8305 section 8: "Connection Attempt Delay: 250 milliseconds".
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// As many SYNs in flight as a browser has connections for one host; with the default delay the
/// sixth is sent at 1.25 s, so only a name whose first five addresses are dead gets there.
pub(crate) const MAX_CONCURRENT: usize = 6;
/// Go's `net/http` gives a dial 30 s, reqwest and hyper-util none. Ten outlast three retransmitted
/// SYNs (1, 3 and 7 s) and are above the 5 s that Tollgate's client gives to a whole connect.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// RFC 8305 section 8: "Resolution Delay: 50 milliseconds".
pub(crate) const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// RFC 8305 section 8: "First Address Family Count: 1".
pub(crate) const FIRST_FAMILY_COUNT: usize = 1;
/// The most addresses of an answer that are tried.
pub(crate) const MAX_ADDRESSES: usize = 64;
/// A delay beyond this is no delay but never: it outlasts every dial, and an `Instant` can hold it.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(3600);

pub(crate) type OnOutcome = Arc<dyn Fn(SocketAddr, AttemptOutcome) + Send + Sync>;
pub(crate) type OnAllFailed = Arc<dyn Fn(&str) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) pace: Pace,
    pub(crate) resolution_delay: Duration,
    pub(crate) connect_timeout: Option<Duration>,
    /// It is the default, and gives way to a budget above.
    pub(crate) default_timeout: bool,
    pub(crate) policy: AddrPolicy,
    pub(crate) unix: Vec<(Box<str>, PathBuf)>,
    pub(crate) on_outcome: Option<OnOutcome>,
    pub(crate) on_all_failed: Option<OnAllFailed>,
    /// The one family to dial, if a local address was given for one only.
    pub(crate) only: Option<Family>,
    /// `https` is dialled unasked, since a TLS layer is above.
    pub(crate) below_tls: bool,
}

impl Config {
    pub(crate) const DEFAULT: Self = Self {
        pace: Pace {
            attempt_delay: ATTEMPT_DELAY,
            max_concurrent: MAX_CONCURRENT,
            first_family_count: FIRST_FAMILY_COUNT,
        },
        resolution_delay: RESOLUTION_DELAY,
        connect_timeout: Some(CONNECT_TIMEOUT),
        default_timeout: true,
        policy: AddrPolicy::any(),
        unix: Vec::new(),
        on_outcome: None,
        on_all_failed: None,
        only: None,
        below_tls: false,
    };

    pub(crate) fn unix_path(&self, host: &str) -> Option<&Path> {
        let named = self.unix.iter().find(|(named, _)| **named == *host);
        named.map(|(_, path)| path.as_path())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("pace", &self.pace)
            .field("resolution_delay", &self.resolution_delay)
            .field("connect_timeout", &self.connect_timeout)
            .field("default_timeout", &self.default_timeout)
            .field("policy", &self.policy)
            .field("unix", &self.unix)
            .field("on_outcome", &self.on_outcome.is_some())
            .field("on_all_failed", &self.on_all_failed.is_some())
            .field("only", &self.only)
            .field("below_tls", &self.below_tls)
            .finish()
    }
}

/// Of the clones of one `Dial`.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) memory: Memory,
}

impl Shared {
    /// Reports that a dial of `host` ended without a connection, after attempts that had their chance.
    pub(crate) fn report_all_failed(&self, host: &str) {
        if let Some(on_all_failed) = &self.config.on_all_failed {
            on_all_failed(host);
        }
    }

    /// Reports how an attempt ended.
    pub(crate) fn report(&self, addr: SocketAddr, outcome: AttemptOutcome) {
        if let Some(on_outcome) = &self.config.on_outcome {
            on_outcome(addr, outcome);
        }
    }
}
