//! A host to be made sick, and what serves it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tollgate_testing::dns::{Answer, Query};
use tollgate_testing::tls::{Authority, Server};
use tollgate_testing::{DnsServer, Listener};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The inside of a namespace: a nameserver on port 53 that knows `billing.internal`.
pub(crate) struct Host {
    pub(crate) dns: DnsServer,
    resolv_conf: PathBuf,
    descriptors: u64,
}

/// The doctor's output.
pub(crate) struct Report {
    pub(crate) json: serde_json::Value,
    pub(crate) code: i32,
}

impl Host {
    pub(crate) async fn new() -> Self {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let dns = DnsServer::start_at((localhost, 53).into()).await;
        dns.set("billing.internal", Answer::addrs([localhost]));
        let name = format!("tollgate-doctor-{}.resolv.conf", std::process::id());
        let host = Self {
            dns,
            resolv_conf: std::env::temp_dir().join(name),
            descriptors: 8_192,
        };
        host.resolv_conf("nameserver 127.0.0.1\n")
    }

    pub(crate) fn resolv_conf(self, text: &str) -> Self {
        std::fs::write(&self.resolv_conf, text).unwrap();
        self
    }

    pub(crate) fn descriptors(mut self, limit: u64) -> Self {
        self.descriptors = limit;
        self
    }

    /// One more nameserver, for as long as it is kept.
    pub(crate) async fn nameserver(
        &self,
        ip: [u8; 4],
        script: impl Fn(&Query) -> Answer + Send + Sync + 'static,
    ) -> DnsServer {
        let dns = DnsServer::start_at((ip, 53).into()).await;
        dns.script_all(script);
        dns
    }

    /// Opens and closes this many connections to the origin.
    pub(crate) async fn wait_on_ports(&self, count: usize) {
        for _ in 0..count {
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, 80)).await.unwrap());
        }
    }

    pub(crate) async fn doctor(&self, arguments: &[&str]) -> Report {
        self.doctor_of("http://billing.internal/", arguments).await
    }

    pub(crate) async fn doctor_of(&self, url: &str, arguments: &[&str]) -> Report {
        let limit = format!("ulimit -n {} && exec \"$@\"", self.descriptors);
        let output = Command::new("sh")
            .args(["-c", &limit, "sh", env!("CARGO_BIN_EXE_tollgate")])
            .args(["doctor", url, "--json", "--idle", "3", "--resolv-conf"])
            .arg(&self.resolv_conf)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        Report {
            json: serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{err}")),
            code: output.status.code().unwrap(),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.resolv_conf));
    }
}

/// Serves `billing.internal` on this port of localhost with a certificate of a new authority, whose own
/// is in the file that is returned.
pub(crate) fn tls(port: u16) -> (Listener, String) {
    let authority = Authority::new();
    let server = Server::new(authority.issue("billing.internal")).alpn(&["http/1.1"]);
    let server = server.start_at((Ipv4Addr::LOCALHOST, port).into());
    let file = std::env::temp_dir().join(format!("tollgate-doctor-{}.pem", std::process::id()));
    std::fs::write(&file, authority.pem()).unwrap();
    (server, file.to_str().unwrap().to_owned())
}

/// A server that serves this many connections at once, and closes those that are more.
pub(crate) async fn few_connections(addr: SocketAddr, most: usize) {
    let listener = TcpListener::bind(addr).await.unwrap();
    let places = Arc::new(Semaphore::new(most));
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            tokio::spawn(async move {
                while answer(&mut tcp).await.is_ok() {}
                drop(place);
            });
        }
    });
}

/// Reads a request without a body and answers it.
async fn answer(io: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await?);
    }
    io.write_all(OK).await?;
    io.flush().await
}
