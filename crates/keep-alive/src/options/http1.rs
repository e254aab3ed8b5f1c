//! How a pool reads and writes HTTP/1.

use hyper::client::conn::http1::Builder;

/// The fields that hyper reads without allocating for it.
pub(crate) const FEW_HEADERS: usize = 100;
/// The fields once an origin was seen to send more: what is bounded then are bytes, 400 KiB in hyper, within
/// which these fit if they are ordinary ones.
const MANY_HEADERS: usize = 2_048;
/// As many as a `HeaderMap` takes, which panics for more. Room for all of them is made for each response.
const MOST_HEADERS: usize = 24_576;

/// The parser of an origin's response heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parser {
    /// Reads what nearly all servers send, at no cost for what they do not.
    Quick,
    /// Reads many fields and folded values as well, for an origin that was seen to send them.
    Generous,
}

/// How a pool reads and writes HTTP/1.
///
/// ```
/// use tollgate_keep_alive::{Http1Options, KeepAliveLayer};
///
/// let layer = KeepAliveLayer::new().http1(Http1Options::new().max_headers(500));
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until they are given to a layer"]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a leniency of its own"
)]
pub struct Http1Options {
    max_headers: Option<usize>,
    obsolete_folding: bool,
    ignore_invalid_headers: bool,
    spaces_after_names: bool,
    title_case: bool,
}

impl Default for Http1Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Http1Options {
    /// The defaults of each option.
    pub const fn new() -> Self {
        Self {
            max_headers: None,
            obsolete_folding: true,
            ignore_invalid_headers: false,
            spaces_after_names: false,
            title_case: false,
        }
    }

    /// Sets the most header fields of a response. Default 2,048, at most 24,576. A head is bounded by about 400 KiB too.
    ///
    /// By default connections read 100 fields, without an allocation for them, until an origin sends more: that
    /// response is read again, its connection is closed behind it, and further ones read 2,048, which costs two
    /// allocations for each response. A limit that is set holds from the start.
    pub const fn max_headers(mut self, max: usize) -> Self {
        self.max_headers = Some(if max < MOST_HEADERS {
            max
        } else {
            MOST_HEADERS
        });
        self
    }

    /// Takes a header value that is folded over several lines as one with spaces, as a user agent must (RFC
    /// 9112 section 5.2). Default on; without it such a response is an error.
    ///
    /// The first folded response of an origin is read again, and its connection is closed behind it; further
    /// connections look for folds in each response. In the answer to a `CONNECT` or an upgrade they are an error
    /// until then.
    pub const fn obsolete_folding(mut self, on: bool) -> Self {
        self.obsolete_folding = on;
        self
    }

    /// Passes over header lines without a colon or with a name that is none. Default off: such a response
    /// is an error, since another hop may read it differently (request smuggling).
    pub const fn ignore_invalid_headers(mut self, on: bool) -> Self {
        self.ignore_invalid_headers = on;
        self
    }

    /// Takes spaces between a header's name and its colon. Default off, for the same reason.
    pub const fn spaces_after_header_names(mut self, on: bool) -> Self {
        self.spaces_after_names = on;
        self
    }

    /// Writes the names of headers in `Title-Case`, for servers that heed the case. Default off.
    pub const fn title_case_headers(mut self, on: bool) -> Self {
        self.title_case = on;
        self
    }

    /// The most header fields that a parser of an origin reads.
    pub(crate) fn header_limit(&self, parser: Parser) -> usize {
        self.max_headers.unwrap_or(match parser {
            Parser::Quick => FEW_HEADERS,
            Parser::Generous => MANY_HEADERS,
        })
    }

    /// Returns true if the limit may turn out too low and then be raised.
    pub(crate) const fn learns_headers(&self) -> bool {
        self.max_headers.is_none()
    }

    /// Returns true if folded values are read once one was met.
    pub(crate) const fn learns_folding(&self) -> bool {
        self.obsolete_folding
    }

    pub(crate) fn builder(&self, parser: Parser) -> Builder {
        let mut builder = Builder::new();
        let folding = self.obsolete_folding && parser == Parser::Generous;
        builder
            .allow_obsolete_multiline_headers_in_responses(folding)
            .ignore_invalid_headers_in_responses(self.ignore_invalid_headers)
            .allow_spaces_after_header_name_in_responses(self.spaces_after_names)
            .title_case_headers(self.title_case);
        let limit = self.header_limit(parser);
        if limit != FEW_HEADERS {
            builder.max_headers(limit);
        }
        builder
    }
}
