//! The failure of a request's body.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use tollgate_core::BoxError;

use super::Polled;

/// A body's own error: hyper has it, and the call that fails for it.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Arc<BoxError>);

impl Failure {
    pub(super) fn shared(polled: Polled) -> (Polled, Option<Self>) {
        let Poll::Ready(Some(Err(error))) = polled else {
            return (polled, None);
        };
        let failure = Self(Arc::new(error));
        let error = Box::new(failure.clone());
        (Poll::Ready(Some(Err(error))), Some(failure))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body failed")
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&**self.0)
    }
}
