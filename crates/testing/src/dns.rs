//! A scripted DNS server: answers, lies and silence, over UDP and TCP on one port.
//!
//! Names without a script are NXDOMAIN. A name's script is an [`Answer`], or a function of the
//! [`Query`], which knows its type, its transport and how often it was asked before; it can be
//! replaced at any time.
//!
//! ```
//! # use std::net::IpAddr;
//! # use std::time::Duration;
//! # use tollgate_testing::dns::{Answer, DnsServer, RecordType};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let dns = DnsServer::start().await;
//! let ip: IpAddr = "127.0.0.1".parse().unwrap();
//! dns.set("billing.internal", Answer::addrs([ip]).ttl(30));
//! dns.set("slow.internal", Answer::addrs([ip]).after(Duration::from_millis(50)));
//! // A answers, AAAA never does; from the third query on, neither.
//! dns.script("flaky.internal", move |query| match (query.rtype, query.nth) {
//!     (RecordType::A, 0..=1) => Answer::addrs([ip]),
//!     (RecordType::A, _) => Answer::servfail(),
//!     _ => Answer::silence(),
//! });
//! let server = dns.addr(); // for the resolver under test
//! # drop(server);
//!
//! assert_eq!(dns.count("billing.internal", RecordType::A), 0);
//! # }
//! ```

mod answer;
mod server;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::Location;
use std::sync::Arc;

use tokio::time::Instant;

pub use answer::Answer;
pub use hickory_proto::op::ResponseCode;
pub use hickory_proto::rr::RecordType;

use crate::board::Board;
use crate::held::HeldPort;
use server::Running;

/// The log keeps this many queries; later ones are only counted.
const LOG_MAX: usize = 65_536;

/// A query as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// The name, lower case, without the dot at its end.
    pub name: String,
    /// The type asked for.
    pub rtype: RecordType,
    /// True if it came over TCP.
    pub tcp: bool,
    /// True if it offered EDNS.
    pub edns: bool,
    /// The number of times that this name and type had been asked before, over either transport.
    pub nth: usize,
    /// The address of the client: its port distinguishes the sockets of lookups.
    pub source: SocketAddr,
    /// The query's id.
    pub id: u16,
    /// The time of its arrival.
    pub at: Instant,
}

type Script = Arc<dyn Fn(&Query) -> Answer + Send + Sync>;

#[derive(Default)]
struct State {
    scripts: HashMap<String, Script>,
    fallback: Option<Script>,
    counts: HashMap<(String, RecordType), usize>,
    total: usize,
    log: Vec<Query>,
}

/// A scripted DNS server; stops when dropped.
pub struct DnsServer {
    port: HeldPort,
    board: Arc<Board<State>>,
    running: Option<Running>,
}

impl fmt::Debug for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsServer")
            .field("addr", &self.addr())
            .field("queries", &self.total())
            .finish_non_exhaustive()
    }
}

impl DnsServer {
    /// Starts one on `127.0.0.1`, on a port that is free for UDP and TCP.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub async fn start() -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into()).await
    }

    /// Starts one on this address, such as `127.0.0.2` for a second server.
    ///
    /// # Panics
    ///
    /// If it cannot be bound.
    pub async fn start_on(ip: IpAddr) -> Self {
        Self::start_at((ip, 0).into()).await
    }

    /// Starts one on this address and port, such as port 53 in a network namespace.
    ///
    /// # Panics
    ///
    /// If it cannot be bound.
    #[expect(clippy::unused_async, reason = "it needs the runtime it is awaited in")]
    pub async fn start_at(addr: SocketAddr) -> Self {
        let board = Arc::default();
        let port = HeldPort::start_at(addr);
        let running = Running::start(&port, &board);
        Self {
            port,
            board,
            running: Some(running),
        }
    }

    /// Returns the address of the server, also once it is stopped.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// From now on answers queries for `name`, of any type, with `answer`.
    ///
    /// [`Answer::addrs`] gives each type its own addresses.
    pub fn set(&self, name: &str, answer: Answer) {
        self.script(name, move |_| answer.clone());
    }

    /// From now on asks `script` about each query for `name`.
    pub fn script(&self, name: &str, script: impl Fn(&Query) -> Answer + Send + Sync + 'static) {
        let old = self
            .board
            .update(|state| state.scripts.insert(canonical(name), Arc::new(script)));
        // With the lock open: a script may own anything.
        drop(old);
    }

    /// From now on asks `script` about each query whose name has no script of its own.
    pub fn script_all(&self, script: impl Fn(&Query) -> Answer + Send + Sync + 'static) {
        let old = self
            .board
            .update(|state| state.fallback.replace(Arc::new(script)));
        drop(old);
    }

    /// Returns the number of queries of this type for this name, over either transport.
    pub fn count(&self, name: &str, rtype: RecordType) -> usize {
        let key = (canonical(name), rtype);
        self.board
            .read(|state| state.counts.get(&key).copied().unwrap_or(0))
    }

    /// Returns the number of queries in all.
    pub fn total(&self) -> usize {
        self.board.read(|state| state.total)
    }

    /// The queries so far, in the order of arrival; the first 65,536 of them.
    pub fn queries(&self) -> Vec<Query> {
        self.board.read(|state| state.log.clone())
    }

    /// Waits until `n` queries have come in all.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`](crate::DEADLINE) of real time, with the number that came.
    #[track_caller]
    pub fn reached(&self, n: usize) -> impl Future<Output = ()> {
        let reached = self.board.until(
            Location::caller(),
            |state| state.total,
            move |total| *total >= n,
        );
        async move {
            reached.await;
        }
    }

    /// Stops: UDP and TCP are refused until [`restart`](Self::restart). Scripts and counts stay.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Listens again, on the same address, which nobody else was given meanwhile.
    ///
    /// # Panics
    ///
    /// If a socket was bound to it by its number.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.running = Some(Running::start(&self.port, &self.board));
    }
}

impl State {
    /// Counts and logs a query, and finds who decides about it.
    fn arrive(&mut self, query: &mut Query) -> Option<Script> {
        let key = (query.name.clone(), query.rtype);
        let count = self.counts.entry(key).or_default();
        query.nth = *count;
        *count += 1;
        self.total += 1;
        if self.log.len() < LOG_MAX {
            self.log.push(query.clone());
        }
        let own = self.scripts.get(&query.name);
        own.or(self.fallback.as_ref()).cloned()
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
