//! The refusal of a connection by its peer, after this side took the handshake for done.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use tollgate_core::{BoxError, Classified, ConnectErrorKind};

/// The error of the first read of a connection that the peer refused in words of its own: with TLS 1.3
/// the fatal alert about a certificate comes when the client has ended its handshake. The next
/// connection would meet the same.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(Arc<io::Error>);

impl Refusal {
    /// Returns the refusal that an error is, if it is more than a connection that ended.
    pub(super) fn of(error: io::Error) -> Result<Self, io::Error> {
        if error.kind() == io::ErrorKind::InvalidData && error.get_ref().is_some() {
            Ok(Self(Arc::new(error)))
        } else {
            Err(error)
        }
    }

    /// The same as an error of the IO.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(self.0.kind(), self)
    }

    /// The same as the failure of a dial, which it is; of TLS if the connection is.
    pub(crate) fn as_failure(&self, is_tls: bool) -> BoxError {
        if is_tls {
            let classified = Classified::new(ConnectErrorKind::Tls);
            classified.because(self.clone()).into()
        } else {
            self.clone().into()
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer refused the connection: {}", self.0)
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
