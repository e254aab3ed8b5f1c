//! A server that does what its script says, on a thread of its own: the client's may be blocked.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tollgate_testing::tls::Acceptor;

use crate::script::{Case, Step};
use crate::stalls::Stalls;
use crate::tls::{self, Stream};

/// Marks that one side counts and the other waits for.
#[derive(Clone, Debug)]
pub(crate) struct Marks(Arc<watch::Sender<usize>>);

impl Marks {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }

    pub(crate) fn count(&self) {
        self.0.send_modify(|marks| *marks += 1);
    }

    pub(crate) async fn reached(&self, marks: usize) {
        let mut seen = self.0.subscribe();
        let reached = seen.wait_for(|&counted| counted >= marks).await;
        reached.expect("the sender lives as long as this");
    }

    /// The same with this thread blocked.
    pub(crate) fn block_until(&self, marks: usize) {
        let (waits, runtime) = (self.clone(), runtime::Builder::new_current_thread().build());
        let waiting = thread::spawn(move || runtime.unwrap().block_on(waits.reached(marks)));
        waiting.join().unwrap();
    }
}

/// Bytes that the server reads on one connection; a client may send for ever.
const MOST: usize = 64 << 20;

/// What the server read on each connection.
pub(crate) type Received = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server that runs until it is dropped.
pub(crate) struct Server {
    addr: SocketAddr,
    /// The authority of its certificate, if it speaks TLS.
    pub(crate) trust: Option<String>,
    pub(crate) marks: Marks,
    pub(crate) client_marks: Marks,
    pub(crate) received: Received,
    _ends_when_dropped: oneshot::Sender<()>,
}

impl Server {
    /// Starts a server with a case's scripts: one for each connection, the last for all that follow.
    pub(crate) fn start(case: &Case, stalls: &Stalls) -> Self {
        let scripts = case.server.clone();
        let (trust, acceptor) = case.tls.then(|| tls::acceptor(case.version)).unzip();
        let (marks, client_marks) = (Marks::new(), Marks::new());
        let received = Received::default();
        let (end, ended) = oneshot::channel::<()>();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let plays = Plays {
            marks: marks.clone(),
            client_marks: client_marks.clone(),
            received: received.clone(),
            acceptor,
        };
        let stalls = stalls.clone();
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                tokio::spawn(stalls.watch());
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = plays.accept(listener, scripts) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            addr,
            trust,
            marks,
            client_marks,
            received,
            _ends_when_dropped: end,
        }
    }

    /// The URI of a path on it.
    pub(crate) fn uri(&self, path: &str) -> String {
        match self.trust {
            Some(_) => format!("https://{}:{}{path}", tls::HOST, self.addr.port()),
            None => format!("http://{}{path}", self.addr),
        }
    }
}

#[derive(Clone)]
struct Plays {
    marks: Marks,
    client_marks: Marks,
    received: Received,
    acceptor: Option<Acceptor>,
}

impl Plays {
    async fn accept(self, listener: TcpListener, scripts: Vec<Vec<Step>>) {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            self.received.lock().unwrap().push(Vec::new());
            let script = scripts.get(number).or_else(|| scripts.last()).cloned();
            let plays = self.clone();
            tokio::spawn(async move {
                if let Some([Step::Accept(marks), ..]) = script.as_deref() {
                    plays.marks.count();
                    plays.client_marks.reached(*marks).await;
                }
                let connection = Connection {
                    stream: Stream::begin(stream, plays.acceptor.clone()).await,
                    plays,
                    number,
                    taken: 0,
                    preface: false,
                };
                connection.play(script.unwrap_or_default()).await;
            });
        }
    }
}

/// One connection and how far its bytes have been looked at.
struct Connection {
    plays: Plays,
    number: usize,
    stream: Stream,
    taken: usize,
    preface: bool,
}

impl Connection {
    async fn play(mut self, script: Vec<Step>) {
        for step in script {
            let went_on = match step {
                Step::Accept(_) => true,
                Step::Head => self.take_until(head_end).await,
                Step::Body(bytes) => {
                    self.take_until(|rest| (rest.len() >= bytes).then_some(bytes))
                        .await
                }
                Step::Frame(kind) => self.take_frames(kind).await,
                Step::Says(bytes) => self.says(&bytes).await.is_ok(),
                Step::Mark => {
                    self.plays.marks.count();
                    true
                }
                Step::Reached(marks) => {
                    self.plays.client_marks.reached(marks).await;
                    true
                }
                Step::Shut => self.stream.shutdown().await.is_ok(),
                Step::ReadToEnd => {
                    while self.read().await {}
                    true
                }
                Step::Hold => std::future::pending().await,
                Step::Close => {
                    self.stream.shutdown().await.ok();
                    self.stream.close();
                    continue;
                }
                Step::Cut => {
                    self.stream.close();
                    continue;
                }
                Step::Reset => {
                    self.stream.reset();
                    continue;
                }
            };
            if !went_on {
                return;
            }
        }
        // A server that has said all it has to say goes on listening.
        while self.read().await {}
    }

    async fn says(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads once; `false` at the end of the stream. After [`MOST`] bytes it reads no more.
    async fn read(&mut self) -> bool {
        if self.plays.received.lock().unwrap()[self.number].len() > MOST {
            std::future::pending::<()>().await;
        }
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece).await {
            Ok(0) | Err(_) => false,
            Ok(bytes) => {
                let mut received = self.plays.received.lock().unwrap();
                received[self.number].extend_from_slice(&piece[..bytes]);
                true
            }
        }
    }

    async fn take_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> bool {
        loop {
            let found = end(&self.plays.received.lock().unwrap()[self.number][self.taken..]);
            if let Some(bytes) = found {
                self.taken += bytes;
                return true;
            }
            if !self.read().await {
                return false;
            }
        }
    }

    async fn take_frames(&mut self, kind: u8) -> bool {
        const PREFACE: usize = 24;
        if !self.preface {
            self.preface = self
                .take_until(|rest| (rest.len() >= PREFACE).then_some(PREFACE))
                .await;
        }
        self.take_until(|rest| frames_until(rest, kind)).await
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let end = b"\r\n\r\n";
    let at = bytes.windows(end.len()).position(|window| window == end)?;
    Some(at + end.len())
}

/// The bytes of the frames up to the first of this type (RFC 9113 section 4.1).
fn frames_until(bytes: &[u8], kind: u8) -> Option<usize> {
    const HEAD: usize = 9;
    let mut at = 0;
    loop {
        let head = bytes.get(at..at + HEAD)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        at += HEAD + length;
        if bytes.len() < at {
            return None;
        }
        if head[3] == kind {
            return Some(at);
        }
    }
}
