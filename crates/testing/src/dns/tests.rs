use std::time::Duration;

use hickory_proto::op::{Edns, Message, OpCode, Query as Question};
use hickory_proto::rr::{Name, RData};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::*;
use crate::{Gate, within};

const LIMIT: Duration = Duration::from_secs(5);

fn question(name: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(4242, hickory_proto::op::MessageType::Query, OpCode::Query);
    message.add_query(Question::query(Name::from_ascii(name).unwrap(), rtype));
    message
}

async fn client(dns: &DnsServer) -> UdpSocket {
    let socket = UdpSocket::bind((dns.addr().ip(), 0)).await.unwrap();
    socket.connect(dns.addr()).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 65_536];
    let len = within(LIMIT, socket.recv(&mut bytes)).await.unwrap();
    bytes.truncate(len);
    bytes
}

async fn udp_bytes(dns: &DnsServer, message: &Message) -> Vec<u8> {
    let socket = client(dns).await;
    socket.send(&message.to_vec().unwrap()).await.unwrap();
    receive(&socket).await
}

async fn udp(dns: &DnsServer, name: &str, rtype: RecordType) -> Message {
    Message::from_vec(&udp_bytes(dns, &question(name, rtype)).await).unwrap()
}

async fn tcp(dns: &DnsServer, name: &str, rtype: RecordType) -> Option<Message> {
    let mut stream = TcpStream::connect(dns.addr()).await.unwrap();
    let bytes = question(name, rtype).to_vec().unwrap();
    stream
        .write_u16(u16::try_from(bytes.len()).unwrap())
        .await
        .unwrap();
    stream.write_all(&bytes).await.unwrap();
    let len = within(LIMIT, stream.read_u16()).await.ok()?;
    let mut bytes = vec![0; usize::from(len)];
    within(LIMIT, stream.read_exact(&mut bytes)).await.unwrap();
    Some(Message::from_vec(&bytes).unwrap())
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn addresses(message: &Message) -> Vec<IpAddr> {
    let addrs = message
        .answers
        .iter()
        .filter_map(|record| record.data.ip_addr());
    addrs.collect()
}

#[tokio::test]
async fn record_types_are_answered_over_udp_and_tcp() {
    let dns = DnsServer::start().await;
    dns.set(
        "Billing.internal.",
        Answer::addrs(ips(&["10.0.0.1", "::7", "10.0.0.2"])).ttl(9),
    );
    let a = udp(&dns, "billing.INTERNAL.", RecordType::A).await;
    assert_eq!(
        (a.metadata.id, a.metadata.response_code),
        (4242, ResponseCode::NoError)
    );
    assert_eq!(addresses(&a), ips(&["10.0.0.1", "10.0.0.2"]));
    assert_eq!(a.answers[0].ttl, 9);
    let aaaa = tcp(&dns, "billing.internal.", RecordType::AAAA)
        .await
        .unwrap();
    assert_eq!(addresses(&aaaa), ips(&["::7"]));
    assert_eq!(dns.count("billing.internal", RecordType::A), 1);
    assert_eq!(dns.count("billing.internal", RecordType::AAAA), 1);
    let log: Vec<_> = dns
        .queries()
        .into_iter()
        .map(|q| (q.name, q.tcp, q.nth))
        .collect();
    let name = "billing.internal".to_owned();
    assert_eq!(log, [(name.clone(), false, 0), (name, true, 0)]);
}

#[tokio::test]
async fn negative_answers_carry_a_soa_only_if_told() {
    let dns = DnsServer::start().await;
    dns.set("soa.test", Answer::nxdomain().soa(5));
    dns.set("empty.test", Answer::nodata().soa(7));
    for (name, code, soa) in [
        ("unknown.test.", ResponseCode::NXDomain, None),
        ("soa.test.", ResponseCode::NXDomain, Some(5)),
        ("empty.test.", ResponseCode::NoError, Some(7)),
    ] {
        let message = udp(&dns, name, RecordType::A).await;
        assert_eq!(message.metadata.response_code, code, "{name}");
        assert!(message.answers.is_empty());
        let found = message
            .authorities
            .first()
            .map(|record| match &record.data {
                RData::SOA(soa) => (record.ttl, soa.minimum),
                other => panic!("{other} is no SOA"),
            });
        assert_eq!(found, soa.map(|seconds| (seconds, seconds)), "{name}");
    }
}

#[tokio::test]
async fn dns_script_counts_queries_and_is_replaceable() {
    let dns = DnsServer::start().await;
    dns.script("flaky.test", |query| match query.nth {
        0 => Answer::servfail(),
        1 => Answer::refused(),
        _ => Answer::addrs(ips(&["10.0.0.1"])),
    });
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(
            udp(&dns, "flaky.test.", RecordType::A)
                .await
                .metadata
                .response_code,
        );
    }
    let expected = [
        ResponseCode::ServFail,
        ResponseCode::Refused,
        ResponseCode::NoError,
    ];
    assert_eq!(codes, expected);
    dns.set("flaky.test", Answer::addrs(ips(&["10.0.0.2"])));
    let moved = udp(&dns, "flaky.test.", RecordType::A).await;
    assert_eq!(addresses(&moved), ips(&["10.0.0.2"]));
    assert_eq!(
        (dns.count("flaky.test", RecordType::A), dns.total()),
        (4, 4)
    );
}

#[tokio::test]
async fn silence_holds_up_nobody_else() {
    let dns = DnsServer::start().await;
    let gate = Gate::new();
    dns.set("hang.test", Answer::silence());
    dns.set(
        "v4.test",
        Answer::addrs(ips(&["10.0.0.1", "::1"])).silent_to(RecordType::AAAA),
    );
    dns.set("late.test", Answer::addrs(ips(&["10.0.0.2"])).when(&gate));
    let socket = client(&dns).await;
    for (name, rtype) in [
        ("hang.test.", RecordType::A),
        ("v4.test.", RecordType::AAAA),
        ("late.test.", RecordType::A),
        ("v4.test.", RecordType::A),
    ] {
        socket
            .send(&question(name, rtype).to_vec().unwrap())
            .await
            .unwrap();
    }
    let first = Message::from_vec(&receive(&socket).await).unwrap();
    assert_eq!(addresses(&first), ips(&["10.0.0.1"]));
    gate.reached(1).await;
    gate.open();
    let late = Message::from_vec(&receive(&socket).await).unwrap();
    assert_eq!(addresses(&late), ips(&["10.0.0.2"]));
    assert_eq!(dns.total(), 4);
}

#[tokio::test]
async fn large_answers_truncate_over_udp_not_tcp() {
    let dns = DnsServer::start().await;
    let many: Vec<IpAddr> = (0..200).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    dns.set("huge.test", Answer::addrs(many.clone()));
    let short = udp(&dns, "huge.test.", RecordType::A).await;
    assert!(short.metadata.truncation && short.answers.is_empty());
    let whole = tcp(&dns, "huge.test.", RecordType::A).await.unwrap();
    assert_eq!(addresses(&whole), many);

    let mut roomy = question("huge.test.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(8192);
    roomy.set_edns(edns);
    let message = Message::from_vec(&udp_bytes(&dns, &roomy).await).unwrap();
    assert_eq!(addresses(&message), many);
}

#[tokio::test]
async fn truncation_and_tcp_close_can_be_forced() {
    let dns = DnsServer::start().await;
    dns.set("tc.test", Answer::addrs(ips(&["10.0.0.1"])).truncated());
    dns.set("close.test", Answer::close());
    assert!(
        udp(&dns, "tc.test.", RecordType::A)
            .await
            .metadata
            .truncation
    );
    let whole = tcp(&dns, "tc.test.", RecordType::A).await.unwrap();
    assert_eq!(addresses(&whole), ips(&["10.0.0.1"]));
    assert!(tcp(&dns, "close.test.", RecordType::A).await.is_none());
}

#[tokio::test]
async fn lies_are_told_as_scripted() {
    let dns = DnsServer::start().await;
    let ip = ips(&["10.0.0.1"]);
    dns.set("id.test", Answer::addrs(ip.clone()).wrong_id());
    dns.set("question.test", Answer::addrs(ip.clone()).wrong_question());
    dns.set("garbage.test", Answer::garbage("xyz"));
    dns.set("loop.test", Answer::cname_loop());
    dns.set(
        "chain.test",
        Answer::addrs(ip.clone()).through(["a.test", "b.test"]),
    );
    assert_ne!(udp(&dns, "id.test.", RecordType::A).await.metadata.id, 4242);
    let wrong = udp(&dns, "question.test.", RecordType::A).await;
    assert_eq!(wrong.queries[0].name().to_ascii(), "wrong.invalid.");
    let garbage = udp_bytes(&dns, &question("garbage.test.", RecordType::A)).await;
    assert_eq!(garbage, b"xyz");
    let cycle = udp(&dns, "loop.test.", RecordType::A).await;
    assert_eq!((cycle.answers.len(), addresses(&cycle).len()), (2, 0));
    let chain = udp(&dns, "chain.test.", RecordType::A).await;
    let owners: Vec<_> = chain.answers.iter().map(|r| r.name.to_ascii()).collect();
    assert_eq!(owners, ["chain.test.", "a.test.", "b.test."]);
    assert_eq!(addresses(&chain), ip);
}

#[tokio::test]
async fn stopped_dns_server_refuses_restarted_one_remembers() {
    let mut dns = DnsServer::start_on("127.0.0.2".parse().unwrap()).await;
    dns.set("a.test", Answer::addrs(ips(&["10.0.0.1"])));
    udp(&dns, "a.test.", RecordType::A).await;
    let addr = dns.addr();
    dns.stop().await;
    let socket = client(&dns).await;
    socket.send(b"hello").await.unwrap();
    let refused = within(LIMIT, socket.recv(&mut [0; 16])).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(TcpStream::connect(addr).await.is_err());
    dns.restart().await;
    assert_eq!(dns.addr(), addr);
    udp(&dns, "a.test.", RecordType::A).await;
    dns.reached(2).await;
    assert_eq!(dns.count("a.test", RecordType::A), 2);
}
