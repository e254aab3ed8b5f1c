//! From a server's message to its reply. No sockets.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::machine::{Failure, Family, Found, Reply};
use crate::addresses::group::MAX_ADDRS;
use crate::values::error::{LookupError, LookupErrorKind};

/// The UDP payload that the DNS flag day of 2020 asks for: no fragments on today's paths.
const MAX_PAYLOAD: u16 = 1232;

/// A longer chain of aliases is a loop.
const MAX_ALIASES: usize = 16;

/// The transport of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) tcp: bool,
    pub(super) edns: bool,
    /// 0x20: letters in random case, which the response must repeat.
    pub(super) random_case: bool,
}

/// The verdict on a response.
#[derive(Debug)]
pub(super) enum Read {
    Reply(Reply),
    /// Ask again in this manner.
    Again(Manner),
}

impl Family {
    pub(super) const fn record_type(self) -> RecordType {
        match self {
            Self::V4 => RecordType::A,
            Self::V6 => RecordType::AAAA,
        }
    }
}

/// A query with a random id.
pub(super) fn query(name: &Name, family: Family, manner: Manner) -> Message {
    let mut name = name.clone();
    if manner.random_case {
        name.randomize_label_case();
    }
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, family.record_type()));
    if manner.edns {
        let edns = message.edns.get_or_insert_with(Edns::new);
        edns.set_max_payload(MAX_PAYLOAD);
    }
    message
}

/// Returns true if `response` belongs to `query`: its id and its question. A server that cannot
/// read the query may leave the question out.
pub(super) fn belongs(response: &Message, query: &Message, random_case: bool) -> bool {
    if response.metadata.id != query.metadata.id {
        return false;
    }
    match (&response.queries[..], &query.queries[..]) {
        ([], _) => response.metadata.response_code == ResponseCode::FormErr,
        ([got], [sent]) => {
            got.query_type() == sent.query_type()
                && got.query_class() == sent.query_class()
                && got.name() == sent.name()
                && (!random_case || got.name().eq_case(sent.name()))
        }
        _ => false,
    }
}

pub(super) fn read(response: &Message, query: &Message, manner: Manner) -> Read {
    let again = |manner| Read::Again(manner);
    match response.metadata.response_code {
        // RFC 6891 §7: a server that does not know EDNS.
        ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS if manner.edns => {
            again(Manner {
                edns: false,
                ..manner
            })
        }
        _ if response.metadata.truncation && !manner.tcp => again(Manner {
            tcp: true,
            ..manner
        }),
        ResponseCode::NoError | ResponseCode::NXDomain => Read::Reply(answer(response, query)),
        code => Read::Reply(failed(format!("the name server replied {code}"))),
    }
}

fn failed(why: String) -> Reply {
    let error = LookupError::new(LookupErrorKind::Transient).with_source(why);
    Reply::Failed(Failure::Replied, error)
}

/// Follows the aliases from the question's name; records of other names are not believed.
fn answer(response: &Message, query: &Message) -> Reply {
    let Some(question) = query.queries.first() else {
        return failed("the query has no question".to_owned());
    };
    let mut owner = question.name();
    let mut ttl = u32::MAX;
    for _ in 0..MAX_ALIASES {
        let of_owner = || {
            response
                .answers
                .iter()
                .filter(|record| record.name == *owner)
        };
        let found = of_owner().filter_map(|record| Some((ip_of(record, question)?, record.ttl)));
        let mut ips = Vec::new();
        for (ip, ip_ttl) in found.take(MAX_ADDRS) {
            ttl = ttl.min(ip_ttl);
            ips.push(ip);
        }
        if !ips.is_empty() {
            let ttl = Duration::from_secs(ttl.into());
            return Reply::Found(Found { ips, ttl });
        }
        let alias = of_owner().find_map(|record| match &record.data {
            RData::CNAME(alias) => Some((&alias.0, record.ttl)),
            _ => None,
        });
        let Some((alias, alias_ttl)) = alias else {
            return negative(response);
        };
        // The address behind an alias may change with it.
        ttl = ttl.min(alias_ttl);
        owner = alias;
    }
    failed("the name is an alias of itself".to_owned())
}

fn ip_of(record: &Record, question: &Query) -> Option<IpAddr> {
    match record.data {
        RData::A(a) if question.query_type() == RecordType::A => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) if question.query_type() == RecordType::AAAA => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

fn negative(response: &Message) -> Reply {
    let head = &response.metadata;
    let soa = response
        .authorities
        .iter()
        .find_map(|record| match &record.data {
            // RFC 2308 section 3: "not found" holds for the lesser of the two.
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        });
    let ttl = soa.map(|seconds| Duration::from_secs(seconds.into()));
    if head.response_code == ResponseCode::NXDomain {
        return Reply::NoName(ttl);
    }
    // RFC 2308 §2.2.1: name servers of another zone and no SOA are a referral, and no word about
    // the name. A server that neither recurses nor has authority has no word about it either.
    let is_referral = soa.is_none()
        && response
            .authorities
            .iter()
            .any(|record| record.record_type() == RecordType::NS);
    let is_lame = !head.recursion_available && !head.authoritative && soa.is_none();
    if response.answers.is_empty() && (is_referral || is_lame) {
        return failed("the name server is not responsible for the name (lame)".to_owned());
    }
    Reply::NoData(ttl)
}
