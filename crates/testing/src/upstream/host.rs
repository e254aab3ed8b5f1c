//! What all connections of one upstream share: script, counters, log and commands.

use std::fmt;

use bytes::Bytes;
use tokio::sync::{broadcast, watch};
use tokio::time::{Duration, Instant};

use super::reply::Reply;
use super::wire::RawHead;
use crate::board::Board;
use crate::gate::Gate;

/// The log keeps this many requests; later ones are only counted.
pub(super) const LOG_MAX: usize = 65_536;

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The number of its connection, in the order of accepting, from 0.
    pub connection: usize,
    /// Which request on its connection, from 0.
    pub nth: usize,
    /// Which request at this upstream, in the order in which heads were complete, from 0.
    pub arrival: usize,
    /// The time at which its head was complete.
    pub at: Instant,
    /// The method.
    pub method: String,
    /// The target as it was sent: a path, or an absolute or authority form.
    pub target: String,
    /// The version as it was sent, `HTTP/1.1`.
    pub version: String,
    /// The headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body, without its framing, as far as it was read: 0 when a script sees it.
    pub body_len: usize,
    /// True if the body was read to its end.
    pub body_complete: bool,
}

impl Request {
    pub(super) fn new(head: &RawHead, connection: usize, nth: usize) -> Self {
        Self {
            connection,
            nth,
            arrival: 0,
            at: Instant::now(),
            method: head.method.clone(),
            target: head.target.clone(),
            version: head.version.clone(),
            headers: head.headers.clone(),
            body_len: 0,
            body_complete: false,
        }
    }

    /// The value of the first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// An upstream's counters at one moment. They add up: nothing is counted twice or missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted so far.
    pub accepted: usize,
    /// Connections that are open on this side. One that the peer closed is counted until the
    /// upstream has seen that, which it does in every wait.
    pub live: usize,
    /// The most that were open at once.
    pub peak_live: usize,
    /// Connections that wait for a request, of which no byte has come.
    pub idle: usize,
    /// Requests whose head was complete.
    pub requests: usize,
    /// Requests of which all steps were done.
    pub answered: usize,
    /// Connections that sent something that is no request.
    pub malformed: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) stats: Stats,
    pub(super) log: Vec<Request>,
}

/// An order to connections that are idle, or to each as soon as it is.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Close,
    Write(Bytes),
}

type OnRequest = Box<dyn Fn(&Request) -> Reply + Send + Sync>;
type OnAccept = Box<dyn Fn(usize) -> Reply + Send + Sync>;

pub(super) struct Host {
    pub(super) on_request: OnRequest,
    pub(super) on_accept: Option<OnAccept>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_requests: Option<usize>,
    pub(super) board: Board<State>,
    pub(super) commands: broadcast::Sender<Command>,
    pub(super) resets: watch::Sender<usize>,
    pub(super) stop: Gate,
}

impl Host {
    /// Counts a connection in, and gives its number.
    pub(super) fn accept(&self) -> usize {
        self.board.update(|state| {
            let stats = &mut state.stats;
            stats.accepted += 1;
            stats.live += 1;
            stats.peak_live = stats.peak_live.max(stats.live);
            stats.accepted - 1
        })
    }

    /// Counts and logs a request, and fills in when it arrived.
    pub(super) fn arrive(&self, request: &mut Request) {
        self.board.update(|state| {
            request.arrival = state.stats.requests;
            state.stats.requests += 1;
            if state.log.len() < LOG_MAX {
                state.log.push(request.clone());
            }
        });
    }

    /// Writes into the log how far a request's body was read.
    pub(super) fn body_read(&self, arrival: usize, len: usize, complete: bool) {
        self.board.update(|state| {
            if let Some(request) = state.log.get_mut(arrival) {
                request.body_len = len;
                request.body_complete = complete;
            }
        });
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Stats)) {
        self.board.update(|state| change(&mut state.stats));
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("stats", &self.board.read(|state| state.stats))
            .finish_non_exhaustive()
    }
}
