//! What a broken server does, and what has to come of it.

use bytes::Bytes;
use tollgate_keep_alive::KeepAliveErrorKind;
use tollgate_testing::Reply;

/// One way to break the protocol.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) upload: usize,
    pub(crate) reply: Reply,
    pub(crate) expect: Expect,
    pub(crate) next: Next,
}

/// What comes of the call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// This status and this body.
    Answer(u16, &'static str),
    /// No head: an error of this kind.
    Fails(KeepAliveErrorKind),
    /// A head, and an error in place of the body's end.
    Breaks,
    /// Nothing in time: the caller's own deadline ends it.
    CutOff,
}

/// What comes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It serves the next request.
    Kept,
    /// It serves nobody any more.
    Fresh,
    /// The server closes it when it likes: whether the next request meets that is a race.
    Race,
}

/// A server that writes these bytes, and then waits for the next request.
pub(crate) fn says(name: &'static str, bytes: impl Into<Bytes>) -> Script {
    does(name, Reply::raw(bytes))
}

/// A server that does this.
pub(crate) fn does(name: &'static str, reply: Reply) -> Script {
    Script {
        name,
        method: "GET",
        upload: 0,
        reply,
        expect: Expect::CutOff,
        next: Next::Fresh,
    }
}

impl Script {
    pub(crate) fn to(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn uploading(mut self, bytes: usize) -> Self {
        self.method = "POST";
        self.upload = bytes;
        self
    }

    pub(crate) fn answers(self, body: &'static str) -> Self {
        self.answers_with(200, body)
    }

    pub(crate) fn answers_with(mut self, status: u16, body: &'static str) -> Self {
        self.expect = Expect::Answer(status, body);
        self
    }

    /// The bytes are no HTTP.
    pub(crate) fn not_http(mut self) -> Self {
        self.expect = Expect::Fails(KeepAliveErrorKind::Exchange);
        self
    }

    /// The connection ended before there was a head.
    pub(crate) fn closed_on(mut self) -> Self {
        self.expect = Expect::Fails(KeepAliveErrorKind::ClosedAfterSent);
        self
    }

    pub(crate) fn breaks(mut self) -> Self {
        self.expect = Expect::Breaks;
        self
    }

    pub(crate) fn cut_off(mut self) -> Self {
        self.expect = Expect::CutOff;
        self
    }

    pub(crate) fn kept(mut self) -> Self {
        self.next = Next::Kept;
        self
    }

    pub(crate) fn closed_by_the_server(mut self) -> Self {
        self.next = Next::Race;
        self
    }
}

/// These bytes, one at a time.
pub(crate) fn dripped(bytes: &str) -> Reply {
    bytes.bytes().fold(Reply::nothing(), |reply, byte| {
        reply.write(vec![byte]).delay(std::time::Duration::ZERO)
    })
}
