//! A nameserver asked as getaddrinfo asks it: for both families, each time, and nothing remembered.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tollgate_cached_dns::{Answer, LookupError, LookupErrorKind};

use crate::BoxError;

/// The number of times that a query is sent before it fails.
const TRIES: usize = 3;

/// The time that an answer to each is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A UDP answer without EDNS is no longer.
const LONGEST: usize = 512;

/// Asks `server` for the addresses of `host`; none at all is an error, as it is for getaddrinfo.
pub(crate) async fn ask(server: SocketAddr, host: &str) -> Result<Answer, BoxError> {
    let name = Name::from_ascii(format!("{}.", host.trim_end_matches('.')))?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(server).await?;
    let v4 = ask_for(&socket, name.clone(), RecordType::A).await?;
    let v6 = ask_for(&socket, name, RecordType::AAAA).await?;
    let found = v4.into_iter().chain(v6);
    let found = found.map(|(ip, ttl)| (SocketAddr::new(ip, 0), ttl));
    let (addrs, ttls): (Vec<_>, Vec<_>) = found.unzip();
    if addrs.is_empty() {
        return Err(LookupError::new(LookupErrorKind::NotFound { ttl: None }).into());
    }
    let ttl = ttls.into_iter().min().unwrap_or(0);
    Ok(Answer::new(addrs).ttl(Duration::from_secs(ttl.into())))
}

async fn ask_for(
    socket: &UdpSocket,
    name: Name,
    rtype: RecordType,
) -> io::Result<Vec<(IpAddr, u32)>> {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, rtype));
    let bytes = query.to_vec().map_err(io::Error::other)?;
    for _ in 0..TRIES {
        socket.send(&bytes).await?;
        if let Ok(answer) = timeout(PATIENCE, receive(socket, query.metadata.id)).await {
            return addresses(&answer?);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "the nameserver does not answer",
    ))
}

/// The answer to this query; a late one to another is passed over.
async fn receive(socket: &UdpSocket, id: u16) -> io::Result<Message> {
    let mut buf = [0; LONGEST];
    loop {
        let len = socket.recv(&mut buf).await?;
        let answer = Message::from_vec(&buf[..len]).map_err(io::Error::other)?;
        if answer.metadata.id == id {
            return Ok(answer);
        }
    }
}

fn addresses(answer: &Message) -> io::Result<Vec<(IpAddr, u32)>> {
    let code = answer.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        let error = format!("the nameserver answers {code}");
        return Err(io::Error::other(error));
    }
    let records = answer.answers.iter().filter_map(|record| {
        let ip = match &record.data {
            RData::A(a) => IpAddr::V4(a.0),
            RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
            _ => return None,
        };
        Some((ip, record.ttl))
    });
    Ok(records.collect())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use tollgate_testing::DnsServer;
    use tollgate_testing::dns::Answer as Script;

    use super::*;

    #[tokio::test]
    async fn both_families_are_asked_for_each_time() {
        let dns = DnsServer::start().await;
        let addrs = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        dns.set("both.internal", Script::addrs(addrs).ttl(30));
        for asked in [2, 4] {
            let answer = ask(dns.addr(), "both.internal").await.unwrap();
            assert_eq!(answer.addrs, addrs.map(|ip| SocketAddr::new(ip, 0)));
            assert_eq!(answer.ttl, Some(Duration::from_secs(30)));
            assert_eq!(dns.total(), asked);
        }
    }

    #[tokio::test]
    async fn nxdomain_is_not_found_and_servfail_is_transient() {
        let dns = DnsServer::start().await;
        dns.set("broken.internal", Script::servfail());
        for (name, kind) in [
            ("nowhere.internal", LookupErrorKind::NotFound { ttl: None }),
            ("broken.internal", LookupErrorKind::Transient),
        ] {
            let error = ask(dns.addr(), name).await.unwrap_err();
            assert_eq!(LookupError::from_backend(error).kind(), kind, "{name}");
        }
    }
}
