//! The failure of a response body.

use std::error::Error;
use std::fmt;
use std::io;

/// The failure of a response body: the exchange broke off after its head.
///
/// For a stream that ended without `END_STREAM` the chain of sources ends in an [`io::Error`] of kind
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof); for every other failure it leads to hyper's error.
#[derive(Debug)]
pub struct KeepAliveBodyError(Cause);

#[derive(Debug)]
enum Cause {
    Http(hyper::Error),
    /// hyper takes `RST_STREAM` with `NO_ERROR` for the end of a body. It is one only behind `END_STREAM`.
    CutShort(CutShort),
}

#[derive(Debug)]
struct CutShort {
    missing: Option<u64>,
    end: io::Error,
}

impl KeepAliveBodyError {
    pub(crate) const fn http(error: hyper::Error) -> Self {
        Self(Cause::Http(error))
    }

    #[cold]
    pub(crate) fn cut_short(missing: Option<u64>) -> Self {
        let end = io::ErrorKind::UnexpectedEof.into();
        Self(Cause::CutShort(CutShort { missing, end }))
    }

    /// Returns true if an HTTP/2 peer ended the stream cleanly by its error code, but without
    /// `END_STREAM`: what came of the body is a part of it.
    pub const fn is_cut_short(&self) -> bool {
        matches!(self.0, Cause::CutShort(_))
    }

    /// The number of bytes that were announced by `content-length` and did not come, for a body that
    /// was [cut short](Self::is_cut_short); `None` if no length was announced.
    pub const fn missing(&self) -> Option<u64> {
        match &self.0 {
            Cause::CutShort(cut) => cut.missing,
            Cause::Http(_) => None,
        }
    }
}

impl fmt::Display for KeepAliveBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Http(error) => error.fmt(f),
            Cause::CutShort(cut) => {
                f.write_str("the peer ended the stream with NO_ERROR and without END_STREAM")?;
                if let Some(missing) = cut.missing {
                    write!(f, ", {missing} announced bytes missing")?;
                }
                f.write_str(
                    ": the body is incomplete; a proxy does so when its own upstream breaks off",
                )
            }
        }
    }
}

impl Error for KeepAliveBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Cause::Http(error) => Some(error),
            Cause::CutShort(cut) => Some(&cut.end),
        }
    }
}
