//! An HTTP/2 server down to its frames: what it allows, answers, refuses and keeps to itself is said
//! by the test.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u8 = 3;

const NO_ERROR: u32 = 0;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const INTERNAL_ERROR: u32 = 2;

/// A server that holds every request until it is told to answer.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    allowed: Option<u32>,
    answers_at_once: bool,
    silent: bool,
    refuse: usize,
    requests: usize,
    resets: usize,
    connections: Vec<Connection>,
}

struct Connection {
    out: UnboundedSender<Vec<u8>>,
    open: BTreeSet<u32>,
    peak: usize,
    last: u32,
}

impl Peer {
    /// Listens; allows `allowed` streams on each connection, `None` for as many as one likes.
    pub(crate) async fn start(allowed: Option<u32>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = State {
            allowed,
            ..State::default()
        };
        let peer = Self {
            addr,
            state: Arc::new(Mutex::new(state)),
        };
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
        self.state().resets
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

    /// From now on nothing is answered, not even a ping.
    pub(crate) fn fall_silent(&self) {
        self.state().silent = true;
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
            for &id in &open {
                one.answer(id);
            }
            open.len()
        });
        answered.sum()
    }

    /// Begins an answer to what is held, and leaves it at its head.
    pub(crate) fn answer_heads(&self) {
        for connection in &self.state().connections {
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

    async fn serve(self, stream: TcpStream) {
        let (mut reader, mut writer) = stream.into_split();
        let (out, mut frames) = unbounded_channel::<Vec<u8>>();
        let at = {
            let mut state = self.state();
            let connection = Connection {
                out,
                open: BTreeSet::new(),
                peak: 0,
                last: 0,
            };
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
                    return;
                }
            }
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

impl State {
    fn received(&mut self, at: usize, kind: u8, flags: u8, id: u32, body: &[u8]) {
        if self.silent {
            return;
        }
        let connection = &mut self.connections[at];
        match kind {
            SETTINGS if flags & ACK == 0 => connection.frame(SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => connection.frame(PING, ACK, 0, body),
            RST_STREAM => {
                self.resets += 1;
                connection.open.remove(&id);
            }
            HEADERS if id > connection.last => {
                connection.last = id;
                self.requests += 1;
                if self.refuse > 0 {
                    self.refuse -= 1;
                    return connection.frame(RST_STREAM, 0, id, &REFUSED_STREAM.to_be_bytes());
                }
                connection.open.insert(id);
                connection.peak = connection.peak.max(connection.open.len());
                if self.answers_at_once {
                    connection.open.remove(&id);
                    connection.answer(id);
                }
            }
            _ => {}
        }
    }
}

impl Connection {
    /// `:status: 200`, which is the 8th entry of HPACK's table, and "ok".
    fn answer(&self, id: u32) {
        self.frame(HEADERS, END_HEADERS, id, &[0x88]);
        self.frame(DATA, END_STREAM, id, b"ok");
    }

    fn frame(&self, kind: u8, flags: u8, id: u32, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(id.to_be_bytes());
        frame.extend(body);
        let _gone = self.out.send(frame);
    }
}
