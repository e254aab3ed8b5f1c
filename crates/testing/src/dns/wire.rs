//! From bytes to a query and from an answer to bytes.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::{CNAME, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::time::Instant;

use super::answer::{Answer, Kind, Question as Echo};
use super::{Query, canonical};

/// The most that an answer over TCP can be.
const TCP_MAX: usize = u16::MAX as usize;

/// Reads a query; `None` if these bytes are none.
pub(super) fn query(bytes: &[u8], source: SocketAddr, tcp: bool) -> Option<(Query, Message)> {
    let message = Message::from_vec(bytes).ok()?;
    if message.metadata.message_type != MessageType::Query {
        return None;
    }
    let question = message.queries.first()?;
    let query = Query {
        name: canonical(&question.name().to_ascii()),
        rtype: question.query_type(),
        tcp,
        edns: message.edns.is_some(),
        nth: 0,
        source,
        id: message.metadata.id,
        at: Instant::now(),
    };
    Some((query, message))
}

/// The bytes of an answer; `None` if there is none.
pub(super) fn answer(answer: &Answer, query: &Query, asked: &Message) -> Option<Vec<u8>> {
    if let Kind::Bytes(bytes) = &answer.kind {
        return Some(bytes.to_vec());
    }
    let question = asked.queries.first()?;
    let id = query.id ^ u16::from(answer.wrong_id);
    let mut message = Message::response(id, OpCode::Query);
    message.metadata.recursion_desired = asked.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    let mut question = question.clone();
    let name = question.name().clone();
    if answer.question == Echo::Wrong {
        question.set_name(parse("wrong.invalid"));
    }
    if answer.question != Echo::None {
        message.add_query(question);
    }
    match &answer.kind {
        Kind::Addrs(addrs) => add_addrs(&mut message, addrs, query.rtype, &name, answer),
        Kind::Loop => {
            let other = parse("loop.invalid");
            message.add_answers([
                alias(name.clone(), other.clone(), answer.ttl),
                alias(other, name.clone(), answer.ttl),
            ]);
        }
        Kind::Referral => {
            // As a server that does not recurse, and names those that know more.
            message.metadata.recursion_available = false;
            let server = RData::NS(NS(parse("ns.invalid")));
            message.add_authority(Record::from_rdata(Name::root(), answer.ttl, server));
        }
        Kind::Code(code) => message.metadata.response_code = *code,
        Kind::Bytes(_) | Kind::Close => return None,
    }
    if let Some(seconds) = answer.soa {
        message.add_authority(soa(&name, seconds));
    }
    Some(fit(&message, answer, query, asked))
}

/// Adds those of the addresses that are of this type, at the end of the aliases.
fn add_addrs(
    message: &mut Message,
    addrs: &[IpAddr],
    rtype: RecordType,
    name: &Name,
    answer: &Answer,
) {
    let mut owner = chain(message, name, answer);
    if let Some(other) = &answer.owner {
        owner = parse(other);
    }
    let fitting = addrs.iter().filter(|ip| match rtype {
        RecordType::A => ip.is_ipv4(),
        RecordType::AAAA => ip.is_ipv6(),
        _ => false,
    });
    message.add_answers(
        fitting.map(|ip| Record::from_rdata(owner.clone(), answer.ttl, RData::from(*ip))),
    );
}

/// Adds the chain of aliases; gives the name at its end.
fn chain(message: &mut Message, name: &Name, answer: &Answer) -> Name {
    answer.aliases.iter().fold(name.clone(), |owner, next| {
        let next = parse(next);
        message.add_answer(alias(owner, next.clone(), answer.ttl));
        next
    })
}

fn alias(from: Name, to: Name, ttl: u32) -> Record {
    Record::from_rdata(from, ttl, RData::CNAME(CNAME(to)))
}

fn soa(name: &Name, seconds: u32) -> Record {
    let zone = name.base_name();
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 7200, 600, 86_400, seconds);
    Record::from_rdata(zone, seconds, RData::SOA(soa))
}

/// Encodes, and truncates what UDP cannot carry.
fn fit(message: &Message, answer: &Answer, query: &Query, asked: &Message) -> Vec<u8> {
    let limit = if query.tcp {
        TCP_MAX
    } else {
        usize::from(asked.max_payload())
    };
    let bytes = message.to_vec().expect("the answer can be encoded");
    if query.tcp || (!answer.truncated && bytes.len() <= limit) {
        assert!(bytes.len() <= limit, "the answer is too large even for TCP");
        return bytes;
    }
    let short = message.truncate().to_vec();
    short.expect("a truncated answer can be encoded")
}

fn parse(name: &str) -> Name {
    match Name::from_ascii(format!("{}.", name.trim_end_matches('.'))) {
        Ok(name) => name,
        Err(error) => panic!("{name:?} is no name: {error}"),
    }
}
