//! The connector itself.

use std::fmt;
use std::future::pending;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Uri;
use hyper_util::client::legacy::connect::Connected;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::connecting::{Connecting, Dialling, ScriptedPanic};
use super::counted::{CountedIo, Describe, Stats, Stream, Tap};
use super::plan::{Dial, End, Plan};
use crate::board::Board;
use crate::gate::Gate;
use crate::upstream::{MemoryTarget, Upstream};

type Script = dyn Fn(&Dial) -> Plan + Send + Sync;

/// A connector under a test's control: a `Service<Uri>` that leads every URI to one upstream.
///
/// Clones share counters and script; readiness is each clone's own.
pub struct Connector {
    target: Target,
    script: Arc<Script>,
    connected: Describe,
    tap: Option<Tap>,
    board: Arc<Board<Stats>>,
    uris: Arc<Board<Vec<Uri>>>,
    ready_when: Option<Gate>,
    readiness: Readiness,
}

#[derive(Clone, Debug)]
enum Target {
    Memory(MemoryTarget),
    Tcp(SocketAddr),
}

enum Readiness {
    Not,
    Waiting(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
    Ready,
}

impl Connector {
    /// Connects to the upstream in memory: nothing of it needs a real clock or a socket.
    pub fn memory(upstream: &Upstream) -> Self {
        Self::new(Target::Memory(upstream.memory()))
    }

    /// Connects to this address over TCP, whatever the URI.
    pub fn tcp(addr: SocketAddr) -> Self {
        Self::new(Target::Tcp(addr))
    }

    fn new(target: Target) -> Self {
        Self {
            target,
            script: Arc::new(|_| Plan::connect()),
            connected: Arc::new(Connected::new),
            tap: None,
            board: Arc::default(),
            uris: Arc::default(),
            ready_when: None,
            readiness: Readiness::Not,
        }
    }

    /// Scripts each dial; without a script all connect at once.
    #[must_use]
    pub fn script(mut self, script: impl Fn(&Dial) -> Plan + Send + Sync + 'static) -> Self {
        self.script = Arc::new(script);
        self
    }

    /// Sets the `Connected` of its connections, such as `|| Connected::new().negotiated_h2()`.
    #[must_use]
    pub fn connected(mut self, describe: impl Fn() -> Connected + Send + Sync + 'static) -> Self {
        self.connected = Arc::new(describe);
        self
    }

    /// Reports what is written on its connections, piece by piece, as the system accepts it.
    #[must_use]
    pub fn tap(mut self, written: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        self.tap = Some(Arc::new(written));
        self
    }

    /// Makes `poll_ready` wait at this gate, each clone by itself and anew after each call.
    #[must_use]
    pub fn ready_when(mut self, gate: &Gate) -> Self {
        self.ready_when = Some(gate.clone());
        self
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.board.read(|stats| *stats)
    }

    /// The URIs of all calls, in order.
    pub fn uris(&self) -> Vec<Uri> {
        self.uris.read(Clone::clone)
    }

    /// Waits until `holds` is true of the counters, and gives them.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`](crate::DEADLINE) of real time, with the counters.
    #[track_caller]
    pub fn settled(&self, holds: impl FnMut(&Stats) -> bool) -> impl Future<Output = Stats> {
        self.board.until(Location::caller(), |stats| *stats, holds)
    }
}

impl Clone for Connector {
    fn clone(&self) -> Self {
        Self {
            target: self.target.clone(),
            script: Arc::clone(&self.script),
            connected: Arc::clone(&self.connected),
            tap: self.tap.clone(),
            board: Arc::clone(&self.board),
            uris: Arc::clone(&self.uris),
            ready_when: self.ready_when.clone(),
            // Never copied, as Tower's contract has it.
            readiness: Readiness::Not,
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("target", &self.target)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Service<Uri> for Connector {
    type Response = CountedIo<Stream>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        if let (Readiness::Not, Some(gate)) = (&self.readiness, &self.ready_when) {
            let gate = gate.clone();
            self.readiness = Readiness::Waiting(Box::pin(async move { gate.wait().await }));
        }
        if let Readiness::Waiting(wait) = &mut self.readiness {
            ready!(wait.as_mut().poll(cx));
        }
        self.readiness = Readiness::Ready;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let ready = mem::replace(&mut self.readiness, Readiness::Not);
        assert!(
            matches!(ready, Readiness::Ready),
            "the connector was called without being polled ready"
        );
        let dialling = Dialling::begin(&self.board);
        let nth = dialling.nth;
        self.uris.update(|uris| uris.push(uri.clone()));
        let plan = (self.script)(&Dial { nth, uri });
        if matches!(plan.end, End::PanicInCall) {
            // Ended by hand: its drop would count as cancelled.
            dialling.end(|stats| stats.failed += 1);
            panic!("this call was told to panic");
        }
        let dial = dial(
            plan,
            self.target.clone(),
            Arc::clone(&self.connected),
            Arc::clone(&self.board),
        );
        let tap = self.tap.clone();
        let dial = async move { Ok(dial.await?.map(|io| io.tapped(tap))) };
        Connecting {
            dial: Box::pin(dial),
            dialling: Some(dialling),
        }
    }
}

async fn dial(
    plan: Plan,
    target: Target,
    connected: Describe,
    board: Arc<Board<Stats>>,
) -> Result<io::Result<CountedIo<Stream>>, ScriptedPanic> {
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    if let Some(gate) = plan.gate {
        gate.wait().await;
    }
    let stream = match plan.end {
        End::Connect => target.connect().await,
        End::Fail(kind) => Err(kind.into()),
        End::Hang => pending().await,
        End::Panic | End::PanicInCall => return Err(ScriptedPanic),
    };
    Ok(stream.map(|stream| CountedIo::new(stream, connected, board)))
}

impl Target {
    async fn connect(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Memory(target) => Stream::Memory(TokioIo::new(target.connect()?)),
            Self::Tcp(addr) => Stream::Tcp(TokioIo::new(TcpStream::connect(addr).await?)),
        })
    }
}
