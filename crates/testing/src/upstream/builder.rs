//! Putting an upstream together.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::Upstream;
use super::host::{Host, Request};
use super::reply::Reply;
use crate::board::Board;
use crate::gate::Gate;
use crate::held::HeldTcp;

/// An upstream to be; made by [`Upstream::builder`].
///
/// Without a script it answers each request with a 200 and the body `ok`.
#[must_use = "nothing listens before start"]
pub struct Builder {
    pub(super) bind: SocketAddr,
    pub(super) backlog: i32,
    host: Host,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            bind: (Ipv4Addr::LOCALHOST, 0).into(),
            backlog: 4096,
            host: Host {
                on_request: Box::new(|_| Reply::ok("ok")),
                on_accept: None,
                idle_timeout: None,
                max_requests: None,
                board: Board::default(),
                commands: broadcast::Sender::new(64),
                resets: watch::Sender::new(0),
                stop: Gate::new(),
            },
        }
    }

    /// The address to listen on, by default `127.0.0.1:0`; port 0 means any.
    pub fn bind(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.bind = addr.into();
        self
    }

    /// The longest line of connections not yet accepted, by default 4096.
    pub fn backlog(mut self, backlog: i32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Scripts the reply to each request. Called when its head is complete.
    pub fn reply(mut self, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        self.host.on_request = Box::new(script);
        self
    }

    /// Scripts each new connection, by its number, before it serves requests.
    pub fn on_accept(mut self, script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        self.host.on_accept = Some(Box::new(script));
        self
    }

    /// Closes connections that were idle for this long.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.host.idle_timeout = Some(timeout);
        self
    }

    /// Sends `Connection: close` with each connection's `n`th response, and closes.
    pub fn max_requests(mut self, n: usize) -> Self {
        self.host.max_requests = Some(n);
        self
    }

    /// Starts to listen.
    ///
    /// # Panics
    ///
    /// If the address cannot be bound.
    #[expect(clippy::unused_async, reason = "it needs the runtime it is awaited in")]
    pub async fn start(self) -> Upstream {
        let port = match HeldTcp::start_at(self.bind) {
            Ok(port) => port,
            Err(error) => panic!("cannot bind {}: {error}", self.bind),
        };
        let mut upstream = Upstream {
            port,
            backlog: self.backlog,
            host: Arc::new(self.host),
            listener: None,
        };
        upstream.listen();
        upstream
    }
}
