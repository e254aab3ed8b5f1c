//! getaddrinfo reads /etc/resolv.conf and asks port 53: each cell of its column gets both to itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::time::timeout;
use tollgate_core::BoxError;

use crate::Row;
use crate::rows::HOSTS;

/// The argument that makes this program run one cell.
pub(crate) const CELL: &str = "--getaddrinfo-cell";

/// What the shell does in the new namespaces: `$1` is the resolv.conf, `$2` the hosts file, the rest the command.
const ENTER: &str = "ip link set lo up && mount --bind \"$1\" /etc/resolv.conf && \
     mount --bind \"$2\" /etc/hosts && shift 2 && exec \"$@\"";

/// Runs this program for one cell of the getaddrinfo column, if that can be done here.
pub(crate) async fn cell(row: Row, limit: Duration) -> String {
    match run(row, limit).await {
        Ok(text) if !text.is_empty() => text,
        _ => "cannot be run here".to_owned(),
    }
}

async fn run(row: Row, limit: Duration) -> Result<String, BoxError> {
    let name = format!("tollgate-dns-faults-{}-{}", std::process::id(), row as u8);
    let conf = Scratch(std::env::temp_dir().join(&name));
    let hosts = Scratch(std::env::temp_dir().join(format!("{name}-hosts")));
    std::fs::write(&hosts.0, HOSTS)?;
    std::fs::write(&conf.0, row.resolv_conf())?;
    let output = Command::new("unshare")
        .args([
            "--map-root-user",
            "--mount",
            "--net",
            "sh",
            "-c",
            ENTER,
            "sh",
        ])
        .args([&conf.0, &hosts.0])
        .arg(std::env::current_exe()?)
        .args([CELL, row.label(), &limit.as_secs().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(limit + Duration::from_secs(20), output).await??;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A file that is gone with the value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Passes what comes to port 53 of 127.0.0.1, 127.0.0.2 and so on to these servers, over UDP.
pub(crate) async fn relay(servers: &[SocketAddr]) -> Result<(), BoxError> {
    for (server, last) in servers.iter().zip(1..) {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 53)).await?;
        tokio::spawn(serve(Arc::new(socket), *server));
    }
    Ok(())
}

async fn serve(socket: Arc<UdpSocket>, server: SocketAddr) {
    let mut query = [0; 1500];
    while let Ok((len, from)) = socket.recv_from(&mut query).await {
        let (socket, query) = (Arc::clone(&socket), query[..len].to_vec());
        tokio::spawn(async move {
            let answer = timeout(Duration::from_secs(30), exchange(server, &query)).await;
            if let Ok(Ok(answer)) = answer {
                drop(socket.send_to(&answer, from).await);
            }
        });
    }
}

async fn exchange(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; 4096];
    let len = socket.recv(&mut answer).await?;
    answer.truncate(len);
    Ok(answer)
}
