//! A server that another follows at the same address.

use std::net::SocketAddr;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::greeter::Greeter;
use crate::soak::STUCK;

/// An address at which one server follows another without a moment of silence: the listener is
/// handed on, as systemd and rolling updates do.
pub(super) struct Site {
    listener: std::net::TcpListener,
    pub(super) greeter: Greeter,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    stopped: JoinHandle<()>,
}

impl Site {
    pub(super) fn start(addr: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut site = Self {
            listener,
            greeter: Greeter::default(),
            running: None,
        };
        site.running = Some(site.serve());
        site
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn serve(&self) -> Running {
        let listener = self.listener.try_clone().unwrap();
        let incoming = tokio::net::TcpListener::from_std(listener).unwrap();
        let incoming = TcpIncoming::from(incoming).with_nodelay(Some(true));
        let (stop, told) = oneshot::channel();
        let server = Server::builder().add_service(self.greeter.clone());
        let server = server.serve_with_incoming_shutdown(incoming, async {
            let _told = told.await;
        });
        let stopped = tokio::spawn(async { server.await.unwrap() });
        Running { stop, stopped }
    }

    /// Starts a new server, then tells the old one to finish what it has, with GOAWAY, and end.
    pub(super) async fn restart(&mut self) {
        let next = self.serve();
        let last = self.running.replace(next).unwrap();
        end(last).await;
    }

    /// Ends gracefully, for good. From now on connections are refused.
    pub(super) async fn stop(self) {
        drop(self.listener);
        end(self.running.unwrap()).await;
    }
}

async fn end(running: Running) {
    running.stop.send(()).unwrap();
    let stopped = timeout(STUCK, running.stopped).await;
    stopped
        .expect("a server ends when its streams have")
        .unwrap();
}
