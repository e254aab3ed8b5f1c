//! One name server: how it is reached, how it wants to be asked, and how it did lately.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::stream::StreamExt;
use hickory_resolver::config::{NameServerConfig, ProtocolConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::DnsHandle;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Message};
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use tokio::time::{Instant, timeout};
use tollgate_core::lock::lock;

use super::error::HickoryError;
use super::health::Health;
use super::machine::{Failure, Family, Reply, Seat};
use super::wire::{Manner, Read, query, read};
use super::{Options, transport};
use crate::values::error::{LookupError, LookupErrorKind};

pub(super) struct Server {
    route: Route,
    limit: Duration,
    random_case: bool,
    tcp_only: bool,
    /// It said FORMERR to EDNS and answered without.
    knows_no_edns: AtomicBool,
    /// Guards plain values.
    health: Mutex<Health>,
}

enum Route {
    /// UDP, and TCP for what does not fit.
    Plain(SocketAddr),
    /// Over TLS and the like, with hickory's features for it.
    Other(NameServerPool<TokioRuntimeProvider>),
}

/// The description of a name server: by its address, with the scope of a link-local one, or in
/// hickory's terms.
#[derive(Clone, Debug)]
pub(super) enum Described {
    Addr(SocketAddr),
    Config(NameServerConfig),
}

impl Server {
    pub(super) fn new(
        described: Described,
        tcp_only: bool,
        limit: Duration,
        options: &Options,
    ) -> Result<Self, HickoryError> {
        let (route, only_tcp) = match described {
            Described::Addr(addr) => (Route::Plain(addr), tcp_only),
            Described::Config(config) => route(config, limit)?,
        };
        Ok(Self {
            route,
            limit,
            random_case: options.case_randomization,
            tcp_only: tcp_only || only_tcp,
            knows_no_edns: AtomicBool::new(false),
            health: Mutex::default(),
        })
    }

    /// Asks one question, for as long as an answer is of use. A query that is dropped before its
    /// reply is no evidence about the server.
    pub(super) async fn ask(self: Arc<Self>, name: Name, family: Family) -> Reply {
        let mut manner = Manner {
            tcp: self.tcp_only,
            edns: !self.knows_no_edns.load(Relaxed),
            random_case: self.random_case,
        };
        let first = manner;
        let exchange = async {
            loop {
                match self.exchange(&name, family, manner).await? {
                    // Each manner once: the next one is always plainer or over TCP.
                    Read::Again(next) => manner = next,
                    Read::Reply(reply) => return io::Result::Ok(reply),
                }
            }
        };
        let reply = match timeout(self.limit, exchange).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => Reply::Failed(Failure::Silent, LookupError::from_backend(error)),
            Err(_) => Reply::Failed(Failure::Silent, LookupError::new(LookupErrorKind::Timeout)),
        };
        if let Reply::Failed(failure, _) = &reply {
            self.failed(*failure);
        } else {
            // Remembered only with an answer without EDNS: FORMERR alone may have another cause.
            if first.edns && !manner.edns {
                self.knows_no_edns.store(true, Relaxed);
            }
            self.locked().replied();
        }
        reply
    }

    async fn exchange(&self, name: &Name, family: Family, manner: Manner) -> io::Result<Read> {
        let query = query(name, family, manner);
        let response = match &self.route {
            Route::Plain(addr) if manner.tcp => {
                transport::tcp(*addr, &query, manner.random_case).await?
            }
            Route::Plain(addr) => transport::udp(*addr, &query, manner.random_case).await?,
            Route::Other(pool) => through(pool, &query).await?,
        };
        Ok(read(&response, &query, manner))
    }

    pub(super) fn failed(&self, failure: Failure) {
        self.locked().failed(failure, Instant::now());
    }

    pub(super) fn seat(&self, index: usize, now: Instant) -> Seat {
        self.locked().seat(index, now)
    }

    /// Claims the one query of this server that is followed to its end in the background.
    pub(super) fn claim_probe(&self) -> bool {
        !std::mem::replace(&mut self.locked().probed, true)
    }

    pub(super) fn end_probe(&self) {
        self.locked().probed = false;
    }

    fn locked(&self) -> MutexGuard<'_, Health> {
        lock(&self.health)
    }
}

fn route(config: NameServerConfig, limit: Duration) -> Result<(Route, bool), HickoryError> {
    let is = |tcp: bool| {
        let wanted = move |protocol: &ProtocolConfig| match protocol {
            ProtocolConfig::Udp => !tcp,
            ProtocolConfig::Tcp => tcp,
            #[allow(unreachable_patterns, reason = "the others are features of hickory's")]
            _ => false,
        };
        let mut each = config.connections.iter();
        each.find(|connection| wanted(&connection.protocol))
    };
    if let Some(plain) = is(false).or_else(|| is(true)) {
        let addr = SocketAddr::new(config.ip, plain.port);
        return Ok((Route::Plain(addr), is(false).is_none()));
    }
    let unusable = |error: NetError| HickoryError::because("a nameserver cannot be used", error);
    let mut opts = ResolverOpts::default();
    opts.timeout = limit;
    opts.attempts = 0;
    let context = PoolContext::new(opts, TlsConfig::new().map_err(unusable)?);
    let provider = TokioRuntimeProvider::default();
    let pool = NameServerPool::from_config([config], Arc::new(context), provider);
    Ok((Route::Other(pool), false))
}

/// hickory makes errors of negative responses; here they are responses again.
async fn through(
    pool: &NameServerPool<TokioRuntimeProvider>,
    query: &Message,
) -> io::Result<Message> {
    let request = DnsRequest::new(query.clone(), DnsRequestOptions::default());
    let mut response = query.clone();
    // Else a response without records would be taken for that of a lame server.
    response.metadata.recursion_available = true;
    match pool.send(request).next().await {
        Some(Ok(found)) => return Ok(found.into_message()),
        Some(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
            response.metadata.response_code = none.response_code;
            let soa = none
                .authorities
                .iter()
                .flat_map(|records| records.iter().cloned());
            response.authorities.extend(soa);
        }
        Some(Err(NetError::Dns(DnsError::ResponseCode(code)))) => {
            response.metadata.response_code = code;
        }
        Some(Err(error)) => return Err(io::Error::other(error)),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    Ok(response)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = match &self.route {
            Route::Plain(addr) => Some(addr),
            Route::Other(_) => None,
        };
        f.debug_struct("Server")
            .field("addr", &addr)
            .field("health", &*self.locked())
            .finish_non_exhaustive()
    }
}
