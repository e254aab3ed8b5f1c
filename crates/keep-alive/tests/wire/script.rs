//! The words of a case: what the server does on each connection, and what the client does.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::play::Seen;

/// The time after which a call counts as hung; an exchange here takes a few milliseconds.
pub(crate) const HUNG: Duration = Duration::from_secs(10);

/// One step of the server, on one connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The first one: counts a mark, and waits for so many of the client's before the TLS handshake.
    Accept(usize),
    /// Reads a request's head to its blank line.
    Head,
    /// Reads this many bytes of a body.
    Body(usize),
    /// Reads HTTP/2 frames, the preface before them, until one of this type has come.
    Frame(u8),
    /// Writes these bytes.
    Says(Bytes),
    /// Counts a mark, which [`Do::Reached`] and [`Do::Blocked`] wait for.
    Mark,
    /// Waits until the client has counted so many [`Do::Mark`]s.
    Reached(usize),
    /// Ends the writing half; goes on reading.
    Shut,
    /// Reads to the end of the stream, or the connection's.
    ReadToEnd,
    /// Closes: a FIN, or a RST if something is left unread.
    Close,
    /// Closes the socket alone, without the goodbye of a TLS below.
    Cut,
    /// Closes with a RST.
    Reset,
    /// Does nothing more, and reads nothing more, until the case is over.
    Hold,
}

/// One act of the client.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    /// Makes a call and reads its response to the end.
    Call(Call),
    /// Makes a call and drops its response with the body unread.
    Drop(Call),
    /// Makes a call and holds its response to the end of the case, with the body unread.
    Hold(Call),
    /// Begins a call beside what follows. Its outcome comes behind those of the others, and waits for it.
    Start(Call),
    /// Waits until the server has counted so many marks.
    Reached(usize),
    /// The same with the client's only thread blocked: its reactor sees nothing of what happens.
    Blocked(usize),
    /// Counts a mark, which [`Step::Reached`] waits for.
    Mark,
    /// Lets the client's own tasks run until nothing is left to do for the moment.
    Settle,
}

/// A call of the client.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) upload: Upload,
    pub(crate) limit: Duration,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub(crate) enum Upload {
    Empty,
    /// These bytes, their number known.
    Whole(Bytes),
    /// These chunks, their number unknown.
    Chunks(Vec<Bytes>),
    /// Chunks of this size for ever.
    Endless(usize),
    /// One chunk, and then nothing for ever.
    Stuck(Bytes),
    /// Panics when it is polled.
    Panics,
    /// One chunk, and then an error.
    Fails(Bytes),
}

impl Do {
    fn changed(mut self, change: impl FnOnce(&mut Call)) -> Self {
        if let Self::Call(call) | Self::Start(call) | Self::Drop(call) | Self::Hold(call) =
            &mut self
        {
            change(call);
        }
        self
    }

    /// The response is dropped with its body unread.
    pub(crate) fn dropped(self) -> Self {
        match self {
            Self::Call(call) => Self::Drop(call),
            other => other,
        }
    }

    /// The response is held with its body unread.
    pub(crate) fn held(self) -> Self {
        match self {
            Self::Call(call) => Self::Hold(call),
            other => other,
        }
    }

    /// The call is begun, and not waited for.
    pub(crate) fn start(self) -> Self {
        match self {
            Self::Call(call) => Self::Start(call),
            other => other,
        }
    }

    pub(crate) fn header(self, name: &'static str, value: &'static str) -> Self {
        self.changed(|call| call.headers.push((name, value)))
    }

    pub(crate) fn upload(self, upload: Upload) -> Self {
        self.changed(|call| call.upload = upload)
    }

    /// The call is given up after this long.
    pub(crate) fn within(self, limit: Duration) -> Self {
        self.changed(|call| call.limit = limit)
    }
}

pub(crate) fn call(method: Method) -> Do {
    Do::Call(Call {
        method,
        path: "/",
        headers: Vec::new(),
        upload: Upload::Empty,
        limit: HUNG,
    })
}

pub(crate) fn get() -> Do {
    call(Method::GET)
}

/// A POST of so many bytes.
pub(crate) fn post(bytes: usize) -> Do {
    call(Method::POST).upload(Upload::Whole(vec![b'x'; bytes].into()))
}

pub(crate) fn says(bytes: impl Into<Bytes>) -> Step {
    Step::Says(bytes.into())
}

/// Which version of HTTP a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// One case: a row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rfc: &'static str,
    pub(crate) behaviour: &'static str,
    pub(crate) version: Version,
    pub(crate) server: Vec<Vec<Step>>,
    pub(crate) client: Vec<Do>,
    pub(crate) right: fn(&Seen) -> bool,
    /// Most connections at once of ours.
    pub(crate) cap: usize,
    /// The options of ours, where the defaults do not do.
    pub(crate) options:
        fn(tollgate_keep_alive::KeepAliveLayer) -> tollgate_keep_alive::KeepAliveLayer,
    /// Played against hyper-util's client too.
    pub(crate) theirs: bool,
    /// Below TLS; the version is what the server agrees on by ALPN.
    pub(crate) tls: bool,
}

/// A case of HTTP/1, with its name, the section of the RFC that rules it and the right behaviour.
pub(crate) fn case(name: &'static str, rfc: &'static str, behaviour: &'static str) -> Case {
    Case {
        name,
        rfc,
        behaviour,
        version: Version::Http1,
        server: Vec::new(),
        client: Vec::new(),
        right: |_| false,
        cap: 1,
        options: |layer| layer,
        theirs: true,
        tls: false,
    }
}

/// A case of HTTP/2, with prior knowledge.
pub(crate) fn case2(name: &'static str, rfc: &'static str, behaviour: &'static str) -> Case {
    Case {
        version: Version::Http2,
        ..case(name, rfc, behaviour)
    }
}

impl Case {
    /// The server's steps, a list for each connection; the last list is for all that follow.
    pub(crate) fn server(mut self, connections: impl Into<Vec<Vec<Step>>>) -> Self {
        self.server = connections.into();
        self
    }

    pub(crate) fn client(mut self, acts: Vec<Do>) -> Self {
        self.client = acts;
        self
    }

    pub(crate) fn right(mut self, right: fn(&Seen) -> bool) -> Self {
        self.right = right;
        self
    }

    pub(crate) fn cap(mut self, cap: usize) -> Self {
        self.cap = cap;
        self
    }

    pub(crate) fn options(
        mut self,
        options: fn(tollgate_keep_alive::KeepAliveLayer) -> tollgate_keep_alive::KeepAliveLayer,
    ) -> Self {
        self.options = options;
        self
    }

    /// Not played against hyper-util's client: it has no such thing, or hangs.
    pub(crate) fn ours_alone(mut self) -> Self {
        self.theirs = false;
        self
    }

    /// The same below TLS, for ours alone.
    pub(crate) fn over_tls(mut self) -> Self {
        self.tls = true;
        self.ours_alone()
    }
}
