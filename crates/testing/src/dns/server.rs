//! The sockets and the tasks on them.

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
use crate::held::HeldPort;

const BACKLOG: i32 = 1024;

pub(super) struct Running {
    stop: Gate,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Clone)]
struct Desk {
    board: Arc<Board<State>>,
    stop: Gate,
}

impl Running {
    pub(super) fn start(port: &HeldPort, board: &Arc<Board<State>>) -> Self {
        let (udp, tcp) = match port.listen(BACKLOG) {
            Ok(sockets) => sockets,
            Err(error) => panic!("cannot listen on {}: {error}", port.addr()),
        };
        let stop = Gate::new();
        let desk = Desk {
            board: Arc::clone(board),
            stop: stop.clone(),
        };
        let tasks = [
            tokio::spawn(desk.clone().serve_udp(udp)),
            tokio::spawn(desk.serve_tcp(tcp)),
        ];
        Self { stop, tasks }
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
