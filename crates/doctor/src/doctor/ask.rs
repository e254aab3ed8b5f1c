//! One question to one nameserver.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

/// The limit on the answer to one packet: as in `tollgate-cached-dns`.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1_500);

/// A packet may be lost.
const TRIES: usize = 2;

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: ResponseCode,
    pub(crate) addrs: Vec<IpAddr>,
    /// The shortest of its records, in seconds.
    pub(crate) ttl: Option<u32>,
    pub(crate) took: Duration,
}

/// Asks over UDP, and over TCP where the answer does not fit.
pub(crate) async fn ask(server: SocketAddr, name: &str, rtype: RecordType) -> io::Result<Answer> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).map_err(io::Error::other)?;
    message.add_query(Query::query(name, rtype));
    let bytes = message.to_vec().map_err(io::Error::other)?;
    let start = Instant::now();
    let mut reply = udp(server, &bytes, message.metadata.id).await?;
    if reply.metadata.truncation {
        reply = timeout(PATIENCE, tcp(server, &bytes)).await??;
    }
    let records = reply
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(ip) => Some((IpAddr::V4(ip.0), record.ttl)),
            RData::AAAA(ip) => Some((IpAddr::V6(ip.0), record.ttl)),
            _ => None,
        });
    let (addrs, ttls): (Vec<_>, Vec<_>) = records.unzip();
    Ok(Answer {
        code: reply.metadata.response_code,
        addrs,
        ttl: ttls.into_iter().min(),
        took: start.elapsed(),
    })
}

async fn udp(server: SocketAddr, bytes: &[u8], id: u16) -> io::Result<Message> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected, so that a port which is closed is an error at once, and packets of others are
    // dropped.
    socket.connect(server).await?;
    for _ in 0..TRIES {
        socket.send(bytes).await?;
        if let Ok(received) = timeout(PATIENCE, receive(&socket, id)).await {
            return received;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// The reply with this id; others are late or forged.
async fn receive(socket: &UdpSocket, id: u16) -> io::Result<Message> {
    let mut buffer = [0; 4096];
    loop {
        let len = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..len]) {
            Ok(message) if message.metadata.id == id => return Ok(message),
            _ => {}
        }
    }
}

async fn tcp(server: SocketAddr, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&len.to_be_bytes()).await?;
    stream.write_all(bytes).await?;
    let len = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(len)];
    stream.read_exact(&mut reply).await?;
    Message::from_vec(&reply).map_err(io::Error::other)
}
