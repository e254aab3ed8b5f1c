//! What the server does about one query.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use crate::gate::Gate;

/// The default TTL of records, in seconds.
const TTL: u32 = 60;

/// The server's reaction to one query: made by a constructor, changed by what follows.
#[derive(Clone, Debug)]
#[must_use = "an answer is what a script returns"]
pub struct Answer {
    pub(super) kind: Kind,
    pub(super) ttl: u32,
    pub(super) soa: Option<u32>,
    pub(super) aliases: Vec<String>,
    pub(super) delay: Duration,
    pub(super) gate: Option<Gate>,
    pub(super) truncated: bool,
    pub(super) wrong_id: bool,
    pub(super) question: Question,
    pub(super) silent: Silent,
    pub(super) owner: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The addresses that fit the type asked for; none is NODATA.
    Addrs(Vec<IpAddr>),
    Code(ResponseCode),
    /// The name servers of a zone further up, and no authority for the name.
    Referral,
    /// Aliases that lead back to the first.
    Loop,
    /// These bytes as they are; over TCP, with a length before them.
    Bytes(Bytes),
    /// Over TCP: the connection closes without an answer. Over UDP: silence.
    Close,
}

/// The question that the answer repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Asked,
    Wrong,
    None,
}

/// The queries that get no answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silent {
    Never,
    To(RecordType),
    OverTcp,
    Always,
}

impl Answer {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            ttl: TTL,
            soa: None,
            aliases: Vec::new(),
            delay: Duration::ZERO,
            gate: None,
            truncated: false,
            wrong_id: false,
            question: Question::Asked,
            silent: Silent::Never,
            owner: None,
        }
    }

    /// These addresses: to an A query the IPv4 ones, to an AAAA query the IPv6 ones, with a TTL of
    /// 60 s. If none fits, it is NODATA. What does not fit into a UDP answer is truncated.
    pub fn addrs(addrs: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::of(Kind::Addrs(addrs.into_iter().collect()))
    }

    /// The name exists, but not with this type. Without [`soa`](Self::soa) it has no TTL.
    pub fn nodata() -> Self {
        Self::addrs([])
    }

    /// The name does not exist. Without [`soa`](Self::soa) that has no TTL.
    pub fn nxdomain() -> Self {
        Self::code(ResponseCode::NXDomain)
    }

    /// The server could not find out.
    pub fn servfail() -> Self {
        Self::code(ResponseCode::ServFail)
    }

    /// The server does not want to answer.
    pub fn refused() -> Self {
        Self::code(ResponseCode::Refused)
    }

    /// A response code and nothing else.
    pub fn code(code: ResponseCode) -> Self {
        Self::of(Kind::Code(code))
    }

    /// A lame referral: neither an answer nor an SOA record, but the root's name servers.
    pub fn referral() -> Self {
        Self::of(Kind::Referral)
    }

    /// Nothing, ever.
    pub fn silence() -> Self {
        Self {
            silent: Silent::Always,
            ..Self::nodata()
        }
    }

    /// A chain of two aliases that never ends.
    pub fn cname_loop() -> Self {
        Self::of(Kind::Loop)
    }

    /// Bytes that are sent as they are (over TCP, after their length).
    pub fn garbage(bytes: impl Into<Bytes>) -> Self {
        Self::of(Kind::Bytes(bytes.into()))
    }

    /// Over TCP, closes the connection without an answer; over UDP, silence.
    pub fn close() -> Self {
        Self::of(Kind::Close)
    }

    /// The TTL of its records, in seconds.
    pub fn ttl(mut self, seconds: u32) -> Self {
        self.ttl = seconds;
        self
    }

    /// Adds a SOA record with this TTL and minimum, in seconds: how long a negative answer holds.
    pub fn soa(mut self, seconds: u32) -> Self {
        self.soa = Some(seconds);
        self
    }

    /// Leads to the addresses through these aliases, one after the other.
    pub fn through<S: Into<String>>(mut self, aliases: impl IntoIterator<Item = S>) -> Self {
        self.aliases = aliases.into_iter().map(Into::into).collect();
        self
    }

    /// Answers after this much of tokio's time. Other queries do not wait for it.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Answers when the gate lets it.
    pub fn when(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Over UDP, sends no records and the TC bit: the client must ask over TCP.
    pub fn truncated(mut self) -> Self {
        self.truncated = true;
        self
    }

    /// Answers with an id that is not the query's.
    pub fn wrong_id(mut self) -> Self {
        self.wrong_id = true;
        self
    }

    /// Answers a question that was not asked, with the right id.
    pub fn wrong_question(mut self) -> Self {
        self.question = Question::Wrong;
        self
    }

    /// Leaves the question out, as servers do that could not read the query.
    pub fn without_question(mut self) -> Self {
        self.question = Question::None;
        self
    }

    /// Gives the records another owner than the name asked for.
    pub fn owned_by(mut self, owner: &str) -> Self {
        self.owner = Some(owner.to_owned());
        self
    }

    /// Is silent to queries of this type, as a firewall that drops AAAA.
    pub fn silent_to(mut self, rtype: RecordType) -> Self {
        self.silent = Silent::To(rtype);
        self
    }

    /// Is silent over TCP: with [`truncated`](Self::truncated), a client that must fall back hangs.
    pub fn silent_over_tcp(mut self) -> Self {
        self.silent = Silent::OverTcp;
        self
    }

    pub(super) fn is_silent(&self, rtype: RecordType, tcp: bool) -> bool {
        match self.silent {
            Silent::Never => false,
            Silent::To(silent) => silent == rtype,
            Silent::OverTcp => tcp,
            Silent::Always => true,
        }
    }
}
