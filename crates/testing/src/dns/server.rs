//! The sockets and the tasks on them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::select;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::answer::{Answer, Kind};
use super::{Query, State, wire};
use crate::board::Board;
use crate::gate::Gate;
use crate::socket;

/// The number of ports that are tried for one that is free for both transports.
const PORT_TRIES: usize = 64;

const BACKLOG: i32 = 1024;

pub(super) struct Running {
    addr: SocketAddr,
    stop: Gate,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Clone)]
struct Desk {
    board: Arc<Board<State>>,
    stop: Gate,
}

impl Running {
    pub(super) fn start(addr: SocketAddr, board: &Arc<Board<State>>) -> Self {
        let (udp, tcp) = bind(addr);
        let addr = udp.local_addr().expect("a bound socket has an address");
        let stop = Gate::new();
        let desk = Desk {
            board: Arc::clone(board),
            stop: stop.clone(),
        };
        let tasks = [
            tokio::spawn(desk.clone().serve_udp(udp)),
            tokio::spawn(desk.serve_tcp(tcp)),
        ];
        Self { addr, stop, tasks }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns when the sockets are closed.
    pub(super) async fn stop(mut self) {
        self.stop.open();
        for task in &mut self.tasks {
            // A task that panicked has closed its socket too.
            drop(task.await);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.open();
    }
}

fn bind(addr: SocketAddr) -> (UdpSocket, TcpListener) {
    let mut last = None;
    for _ in 0..PORT_TRIES {
        match try_bind(addr) {
            Ok(sockets) => return sockets,
            Err(error) => last = Some(error),
        }
        // A port that was asked for does not fall free by another try.
        if addr.port() != 0 {
            break;
        }
    }
    panic!("no port of {addr} is free for UDP and TCP: {last:?}");
}

fn try_bind(addr: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    // UDP chooses the port; where that is taken for TCP, the next try gets another.
    let udp = std::net::UdpSocket::bind(addr)?;
    udp.set_nonblocking(true)?;
    let tcp = socket::try_listen(udp.local_addr()?, BACKLOG)?;
    Ok((UdpSocket::from_std(udp)?, tcp))
}

impl Desk {
    async fn serve_udp(self, udp: UdpSocket) {
        let udp = Arc::new(udp);
        let stop = self.stop.clone();
        let serve = async {
            let mut buf = vec![0; 4096];
            loop {
                // An error is that of a peer that did not want an earlier answer.
                let Ok((len, source)) = udp.recv_from(&mut buf).await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let work = self.clone().answer(&buf[..len], source, false);
                // Weak: an answer that is still to come must not hold the port after a stop.
                let udp = Arc::downgrade(&udp);
                let stop = self.stop.clone();
                tokio::spawn(async move {
                    let send = async {
                        let Some(Reply::Bytes(bytes)) = work.await else {
                            return;
                        };
                        if let Some(udp) = udp.upgrade() {
                            drop(udp.send_to(&bytes, source).await);
                        }
                    };
                    select(Box::pin(send), Box::pin(stop.wait())).await;
                });
            }
        };
        select(Box::pin(serve), Box::pin(stop.wait())).await;
    }

    async fn serve_tcp(self, tcp: TcpListener) {
        let stop = self.stop.clone();
        let serve = async {
            loop {
                let Ok((stream, source)) = tcp.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let desk = self.clone();
                let stop = self.stop.clone();
                tokio::spawn(async move {
                    let connection = desk.connection(stream, source);
                    select(Box::pin(connection), Box::pin(stop.wait())).await;
                });
            }
        };
        select(Box::pin(serve), Box::pin(stop.wait())).await;
    }

    /// Serves one TCP connection; queries on it do not wait for each other.
    async fn connection(self, stream: TcpStream, source: SocketAddr) {
        let (mut read, write) = stream.into_split();
        let write = Arc::new(Mutex::new(write));
        let closed = Gate::new();
        let serve = async {
            loop {
                let Ok(len) = read.read_u16().await else {
                    return;
                };
                let mut bytes = vec![0; usize::from(len)];
                if read.read_exact(&mut bytes).await.is_err() {
                    return;
                }
                let work = self.clone().answer(&bytes, source, true);
                let (write, closed) = (Arc::clone(&write), closed.clone());
                let stop = self.stop.clone();
                tokio::spawn(async move {
                    let send = send_tcp(work, write, &closed);
                    let over = select(Box::pin(closed.wait()), Box::pin(stop.wait()));
                    select(Box::pin(send), over).await;
                });
            }
        };
        let _closing = OpenOnDrop(&closed);
        select(Box::pin(serve), Box::pin(closed.wait())).await;
    }

    /// Returns the answer to these bytes, once it is time; the query is counted before.
    fn answer(
        self,
        bytes: &[u8],
        source: SocketAddr,
        tcp: bool,
    ) -> impl Future<Output = Option<Reply>> + use<> {
        let asked = wire::query(bytes, source, tcp).map(|(mut query, message)| {
            let script = self.board.update(|state| state.arrive(&mut query));
            (query, message, script)
        });
        async move {
            let (query, message, script) = asked?;
            let answer = match script {
                Some(script) => script(&query),
                None => Answer::nxdomain(),
            };
            reply(&answer, &query, &message).await
        }
    }
}

enum Reply {
    Bytes(Vec<u8>),
    Close,
}

async fn reply(
    answer: &Answer,
    query: &Query,
    message: &hickory_proto::op::Message,
) -> Option<Reply> {
    if answer.is_silent(query.rtype, query.tcp) {
        return None;
    }
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    if let Some(gate) = &answer.gate {
        gate.wait().await;
    }
    if matches!(answer.kind, Kind::Close) {
        return Some(Reply::Close);
    }
    wire::answer(answer, query, message).map(Reply::Bytes)
}

async fn send_tcp(
    work: impl Future<Output = Option<Reply>>,
    write: Arc<Mutex<OwnedWriteHalf>>,
    closed: &Gate,
) {
    match work.await {
        Some(Reply::Bytes(bytes)) => {
            let Ok(len) = u16::try_from(bytes.len()) else {
                return;
            };
            let mut framed = len.to_be_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            // The peer may be gone; then the answer is not missed.
            drop(write.lock().await.write_all(&framed).await);
        }
        Some(Reply::Close) => closed.open(),
        None => {}
    }
}

/// Ends the answers still to come with the connection that they are for.
struct OpenOnDrop<'a>(&'a Gate);

impl Drop for OpenOnDrop<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}
