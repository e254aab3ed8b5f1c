//! A response head beyond the limits.

use std::error::Error;
use std::fmt;

use tollgate_core::BoxError;

use crate::options::http1::Parser;
use crate::pool::origin_pool::OriginPool;

/// Whether a response head was beyond the limits, for which hyper has a kind without a predicate.
pub(crate) fn is_it(error: &hyper::Error) -> bool {
    error.is_parse() && error.to_string().contains("too large")
}

/// A response head with more fields than are read, or more bytes.
#[derive(Debug)]
pub(crate) struct TooLarge {
    fields: usize,
    source: hyper::Error,
}

impl TooLarge {
    /// The failure of an exchange, with the limit if that is what it met.
    ///
    /// The limit of what may become a `tunnel` is that of the first reading: it is not read again.
    pub(crate) fn or_other(error: hyper::Error, pool: &OriginPool, tunnel: bool) -> BoxError {
        if !is_it(&error) {
            return error.into();
        }
        let parser = if tunnel {
            Parser::Quick
        } else {
            Parser::Generous
        };
        let fields = pool.shared.config.http1.header_limit(parser);
        Box::new(Self {
            fields,
            source: error,
        })
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the head of the response has more than {} fields or 400 KiB; raise Http1Options::max_headers, or look \
             why it is so large",
            self.fields
        )
    }
}

impl Error for TooLarge {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
