//! Queries on the wire: UDP and TCP here, everything else through hickory's connections.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_resolver::proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::wire::belongs;

/// From one packet to its resend, and how many are sent; lost packets are common, and a server that
/// has not replied by then is asked again later.
const RESEND: Duration = Duration::from_millis(500);
const PACKETS: usize = 3;
/// The largest datagram that is read; the query offers less.
const MAX_DATAGRAM: usize = 4096;
/// The number of ports that are tried for a free one before the system chooses.
const PORT_TRIES: usize = 8;

/// Sends `query` over UDP until a response comes: every packet from a port of its own, which is hard
/// to guess, and every one of them may still be answered when the next is sent.
pub(super) async fn udp(
    server: SocketAddr,
    query: &Message,
    random_case: bool,
) -> io::Result<Message> {
    let bytes = query.to_vec().map_err(io::Error::other)?;
    let mut sent = FuturesUnordered::new();
    loop {
        sent.push(datagram(server, query, &bytes, random_case));
        // After the last packet it is the caller's limit that ends the wait.
        let wait = if sent.len() < PACKETS {
            RESEND
        } else {
            Duration::MAX
        };
        if let Ok(Some(response)) = timeout(wait, sent.next()).await {
            return response;
        }
    }
}

/// One packet. The socket is connected: the kernel drops what others send, and a closed port is an
/// error and not silence.
async fn datagram(
    server: SocketAddr,
    query: &Message,
    bytes: &[u8],
    random_case: bool,
) -> io::Result<Message> {
    let socket = bind(server).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let len = socket.recv(&mut buffer).await?;
        let datagram = &buffer[..len];
        // Checked before it is parsed: garbage with a wrong id must not end the wait.
        if datagram.get(..2) != Some(&query.metadata.id.to_be_bytes()[..]) {
            continue;
        }
        let response = Message::from_vec(datagram).map_err(unreadable)?;
        if belongs(&response, query, random_case) {
            return Ok(response);
        }
    }
}

/// On a random port above the well-known ones (RFC 6056), or the system's choice.
async fn bind(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = |port| match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    };
    for _ in 0..PORT_TRIES {
        // An id is a random number of the size of a port, from a generator fit for secrets.
        let port = Message::query().metadata.id;
        if port >= 1024
            && let Ok(socket) = UdpSocket::bind(any(port)).await
        {
            return Ok(socket);
        }
    }
    UdpSocket::bind(any(0)).await
}

/// One query over a connection of its own.
pub(super) async fn tcp(
    server: SocketAddr,
    query: &Message,
    random_case: bool,
) -> io::Result<Message> {
    let bytes = query.to_vec().map_err(io::Error::other)?;
    let len = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    let framed = [&len.to_be_bytes(), &bytes[..]].concat();
    stream.write_all(&framed).await?;
    loop {
        let len = stream.read_u16().await?;
        let mut bytes = vec![0; len.into()];
        stream.read_exact(&mut bytes).await?;
        let response = Message::from_vec(&bytes).map_err(unreadable)?;
        if belongs(&response, query, random_case) {
            return Ok(response);
        }
    }
}

fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
