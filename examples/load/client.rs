//! What the load needs of a client.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body::Body;
use tollgate_cached_dns::LookupError;
use tollgate_core::ConnectErrorKind;
use tollgate_core::error::{chain, find};

use crate::BoxError;

/// Sends requests, and reports the state of its pool.
pub(crate) trait Client: Clone + Send + Sync + 'static {
    /// Sends a GET and reads the answer to its end.
    fn get(&self, uri: Uri) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// The state of the pool now.
    fn pool(&self) -> Pool;
}

/// An answer that was read to its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answer {
    /// The time that the request waited for a connection, as far as the client reports it.
    pub(crate) queued: Duration,
}

/// The kind of failure, for the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) Cow<'static, str>);

/// The state of a pool; `None` where the client does not report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) open: usize,
    pub(crate) connecting: usize,
    pub(crate) idle: Option<usize>,
    pub(crate) active: Option<usize>,
    pub(crate) queued: Option<usize>,
}

/// Reads a body to its end and throws it away.
pub(crate) async fn drain<B>(body: B) -> Result<(), BoxError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(body);
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        frame.map_err(Into::into)?;
    }
    Ok(())
}

/// The failure that a status is, if it is one.
pub(crate) fn status(status: StatusCode) -> Result<(), Failure> {
    if status.is_client_error() || status.is_server_error() {
        return Err(Failure(format!("status_{}", status.as_u16()).into()));
    }
    Ok(())
}

/// Returns the kind of a client's error: of the connect, or else of the exchange.
pub(crate) fn kind_of(error: &(dyn Error + 'static)) -> Failure {
    let connect = ConnectErrorKind::of(error);
    if connect != ConnectErrorKind::Other {
        return Failure(connect.label().into());
    }
    if find::<LookupError>(error).is_some() {
        return Failure(ConnectErrorKind::Dns.label().into());
    }
    let io = chain(error).find_map(|error| error.downcast_ref::<io::Error>());
    let kind = match io.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => "reset",
        _ if find::<hyper::Error>(error).is_some_and(hyper::Error::is_incomplete_message) => {
            "closed_early"
        }
        _ => "other",
    };
    Failure(kind.into())
}

#[cfg(test)]
mod tests {
    use tollgate_cached_dns::LookupErrorKind;

    use super::*;

    #[test]
    fn failures_are_named_by_what_lies_deepest() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(kind_of(&io::Error::other(refused)).0, "refused");
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(kind_of(&reset).0, "reset");
        let unknown = LookupError::new(LookupErrorKind::NotFound { ttl: None });
        assert_eq!(kind_of(&io::Error::other(unknown)).0, "dns");
        assert_eq!(kind_of(&std::fmt::Error).0, "other");
    }

    #[test]
    fn only_statuses_that_say_so_are_failures() {
        assert_eq!(status(StatusCode::NOT_FOUND).unwrap_err().0, "status_404");
        assert!(status(StatusCode::FOUND).is_ok());
    }
}
