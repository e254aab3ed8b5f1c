//! An HTTP/2 server down to its frames: what it allows, answers, refuses and keeps to itself is said
//! by the test.

mod connection;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

use self::connection::{
    Connection, DATA, END_HEADERS, GOAWAY, HEADERS, MAX_CONCURRENT_STREAMS, RST_STREAM, SETTINGS,
};

const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A server that holds every request until it is told to answer.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing that tests ask for"
)]
struct State {
    allowed: Option<u32>,
    answers_at_once: bool,
    silent: bool,
    answers_late: bool,
    calm: bool,
    leaves: bool,
    refuse: usize,
    requests: usize,
    connections: Vec<Connection>,
}

impl Peer {
    /// Allows `allowed` streams on each connection, `None` for as many as one likes. Is to be given
    /// its connections.
    pub(crate) fn new(addr: SocketAddr, allowed: Option<u32>) -> Self {
        let state = State {
            allowed,
            ..State::default()
        };
        Self {
            addr,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Listens.
    pub(crate) async fn start(allowed: Option<u32>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Self::new(listener.local_addr().unwrap(), allowed);
        let serving = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        peer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn accepted(&self) -> usize {
        self.state().connections.len()
    }

    /// Requests received, on all connections.
    pub(crate) fn requests(&self) -> usize {
        self.state().requests
    }

    /// Streams that the client has reset.
    pub(crate) fn resets(&self) -> usize {
        self.state().connections.iter().map(|one| one.resets).sum()
    }

    /// The most that were reset on one connection.
    pub(crate) fn most_resets(&self) -> usize {
        let state = self.state();
        let resets = state.connections.iter().map(|one| one.resets);
        resets.max().unwrap_or(0)
    }

    /// When a connection was pinged.
    pub(crate) fn pings(&self, connection: usize) -> Vec<Instant> {
        self.state().connections[connection].pings.clone()
    }

    /// Whether the client said GOAWAY on a connection.
    pub(crate) fn was_told_goodbye(&self, connection: usize) -> bool {
        self.state().connections[connection].goodbye
    }

    /// Requests that were received and not answered, by connection.
    pub(crate) fn open(&self) -> Vec<usize> {
        let state = self.state();
        state.connections.iter().map(|one| one.open.len()).collect()
    }

    /// The most that were ever open at once on one connection.
    pub(crate) fn peak(&self) -> usize {
        let state = self.state();
        state
            .connections
            .iter()
            .map(|one| one.peak)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn answer_at_once(&self) {
        self.state().answers_at_once = true;
    }

    /// Holds what comes from now on.
    pub(crate) fn hold(&self) {
        self.state().answers_at_once = false;
    }

    /// Answers what was reset.
    pub(crate) fn answer_cancelled(&self) {
        for connection in &mut self.state().connections {
            for id in std::mem::take(&mut connection.late) {
                connection.answer(id);
            }
        }
    }

    /// From now on nothing is answered, not even a ping.
    pub(crate) fn fall_silent(&self) {
        self.state().silent = true;
    }

    /// From now on nothing is answered on one connection, not even a ping.
    pub(crate) fn fall_silent_on(&self, connection: usize) {
        self.state().connections[connection].silent = true;
    }

    /// Streams that are reset are answered all the same with the others: the answer was on its way.
    pub(crate) fn answer_late(&self) {
        self.state().answers_late = true;
    }

    /// Ends a connection over its pings as gRPC's servers do by default.
    pub(crate) fn be_calm(&self) {
        self.state().calm = true;
    }

    /// Says GOAWAY to each request, and that it processed none.
    pub(crate) fn leave_at_once(&self) {
        self.state().leaves = true;
    }

    /// Refuses the next `n` requests.
    pub(crate) fn refuse(&self, n: usize) {
        self.state().refuse = n;
    }

    /// Answers what is held, on every connection; returns how many that were.
    pub(crate) fn answer_all(&self) -> usize {
        let mut state = self.state();
        let answered = state.connections.iter_mut().map(|one| {
            let open = std::mem::take(&mut one.open);
            for id in std::mem::take(&mut one.late) {
                one.answer(id);
            }
            for &id in &open {
                one.answer(id);
            }
            open.len()
        });
        answered.sum()
    }

    /// Begins an answer to what is held, and leaves it at its head.
    pub(crate) fn answer_heads(&self) {
        for connection in &mut self.state().connections {
            connection.message();
            for &id in &connection.open {
                connection.frame(HEADERS, END_HEADERS, id, &[0x88]);
            }
        }
    }

    pub(crate) fn allow(&self, connection: usize, streams: u32) {
        let mut body = vec![0, MAX_CONCURRENT_STREAMS];
        body.extend(streams.to_be_bytes());
        self.state().connections[connection].frame(SETTINGS, 0, 0, &body);
    }

    /// Announces the end of a connection: what came after the first `kept` requests that are open is
    /// not processed.
    pub(crate) fn go_away(&self, connection: usize, kept: usize) {
        self.go_away_over(connection, kept, NO_ERROR);
    }

    /// The same with what the peer finds wrong.
    pub(crate) fn go_away_over(&self, connection: usize, kept: usize, code: u32) {
        let mut state = self.state();
        let connection = &mut state.connections[connection];
        let last = kept
            .checked_sub(1)
            .and_then(|at| connection.open.iter().nth(at).copied());
        let last = last.unwrap_or(0);
        connection.open.retain(|id| *id <= last);
        let mut body = last.to_be_bytes().to_vec();
        body.extend(code.to_be_bytes());
        connection.frame(GOAWAY, 0, 0, &body);
    }

    /// Ends a connection without a word.
    pub(crate) fn close(&self, connection: usize) {
        let _gone = self.state().connections[connection].out.send(Vec::new());
    }

    /// Resets the first request that is open.
    pub(crate) fn reset_first(&self, connection: usize, code: u32) {
        let mut state = self.state();
        let connection = &mut state.connections[connection];
        let id = connection.open.pop_first().unwrap();
        connection.frame(RST_STREAM, 0, id, &code.to_be_bytes());
    }

    /// Begins a part of an answer on the first stream that is open.
    pub(crate) fn send_data(&self, connection: usize, data: &[u8]) {
        let mut state = self.state();
        let connection = &mut state.connections[connection];
        let id = *connection.open.first().unwrap();
        connection.message();
        connection.frame(DATA, 0, id, data);
    }

    /// Serves one connection.
    pub(crate) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (out, mut frames) = unbounded_channel::<Vec<u8>>();
        let at = {
            let mut state = self.state();
            let connection = Connection::new(out);
            let mut settings = Vec::new();
            if let Some(allowed) = state.allowed {
                settings.extend([0, MAX_CONCURRENT_STREAMS]);
                settings.extend(allowed.to_be_bytes());
            }
            connection.frame(SETTINGS, 0, 0, &settings);
            state.connections.push(connection);
            state.connections.len() - 1
        };
        tokio::spawn(async move {
            while let Some(frame) = frames.recv().await {
                if frame.is_empty() || writer.write_all(&frame).await.is_err() {
                    break;
                }
            }
            let _gone = writer.shutdown().await;
        });
        let mut preface = [0; 24];
        if reader.read_exact(&mut preface).await.is_err() {
            return;
        }
        let mut head = [0; 9];
        while reader.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).await.is_err() {
                return;
            }
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.state().received(at, head[3], head[4], id, &body);
        }
    }
}
