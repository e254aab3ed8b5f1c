//! Failures of a stream that an option decides, told with that option.

use std::error::Error;
use std::fmt;

use h2::Reason;
use tollgate_core::BoxError;
use tollgate_core::error::find;

use crate::options::config::Config;
use crate::options::protocol::Protocol;

/// Returns true if the peer requires HTTP/1.1 for the request (RFC 9113 section 7), by a reset of its
/// stream or by GOAWAY.
pub(crate) fn wants_http1(error: &hyper::Error) -> bool {
    find::<h2::Error>(error)
        .is_some_and(|error| error.is_remote() && error.reason() == Some(Reason::HTTP_1_1_REQUIRED))
}

/// The failure of a stream, with the limit that it met or the option that it needs.
///
/// `wants_http1` says that the peer requires HTTP/1.1 and that the pool cannot go over to it.
pub(crate) fn explained(error: hyper::Error, config: &Config, wants_http1: bool) -> BoxError {
    if wants_http1 {
        let known = config.protocol == Protocol::Http2;
        Box::new(Http1Required {
            known,
            source: error,
        })
    } else if is_head_refused(&error) {
        let limit = config.http2.max_header_list_size;
        Box::new(HeadRefused {
            limit,
            source: error,
        })
    } else {
        error.into()
    }
}

/// Returns true if h2 refused the head of a response: one beyond the limit, or malformed, which it does
/// not tell apart. One far beyond the limit ends the connection, since h2 stops to decode it.
fn is_head_refused(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        let reason = error.reason();
        let refused = error.is_reset() && reason == Some(Reason::PROTOCOL_ERROR);
        let undecoded = matches!(
            reason,
            Some(Reason::COMPRESSION_ERROR | Reason::ENHANCE_YOUR_CALM)
        );
        error.is_library() && (refused || (error.is_go_away() && undecoded))
    })
}

/// The head of a response is longer than is read, or malformed.
#[derive(Debug)]
struct HeadRefused {
    limit: u32,
    source: hyper::Error,
}

impl fmt::Display for HeadRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the head of the response is longer than {} bytes, each field counted with 32 more, or malformed; raise \
             Http2Options::max_header_list_size if it is long, or look what the server sends",
            self.limit
        )
    }
}

impl Error for HeadRefused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The peer requires HTTP/1.1, and no connection of it is to be had.
#[derive(Debug)]
struct Http1Required {
    /// HTTP/2 is spoken with prior knowledge.
    known: bool,
    source: hyper::Error,
}

impl fmt::Display for Http1Required {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer requires HTTP/1.1 for this request (HTTP_1_1_REQUIRED): ")?;
        f.write_str(if self.known {
            "leave Protocol::Http2 out for this origin"
        } else {
            "a connection of it was asked for and the connector agreed on HTTP/2 again, or retries are off; \
             offer http/1.1 alone by ALPN, in a client of its own"
        })
    }
}

impl Error for Http1Required {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
