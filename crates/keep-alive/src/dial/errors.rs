//! The errors of a dial that are not the connector's.

use std::fmt;

/// The connector agreed on HTTP/2 with the peer, which this pool does not speak.
#[derive(Debug)]
pub(crate) struct NotHttp1;

impl fmt::Display for NotHttp1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connector negotiated HTTP/2 for a pool that speaks HTTP/1.1 only; offer only http/1.1 by ALPN, or let the pool speak both")
    }
}

impl std::error::Error for NotHttp1 {}

/// The peer has come to require HTTP/1.1 while this dial had offered HTTP/2.
#[derive(Debug)]
pub(crate) struct Outdated;

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer requires HTTP/1.1 by now, and this connection was dialled for HTTP/2; the next one is not")
    }
}

impl std::error::Error for Outdated {}

/// A dial ended with the runtime that it ran on, or found none.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tokio runtime of this dial ended before the dial did; whoever waits dials anew on its own")
    }
}

impl std::error::Error for Abandoned {}
