//! A response whose head its connection cannot read: it is read again by a parser that takes more.

use std::future::poll_fn;
use std::sync::Arc;

use http::Response;
use hyper::body::Incoming;

use crate::call::attempt::Call;
use crate::call::body::KeepAliveBody;
use crate::call::progress::Progress;
use crate::call::retry::{After, Failure};
use crate::call::too_large;
use crate::call::tunnel::Tunnel;
use crate::error::KeepAliveError;
use crate::pool::lease::Lease;

/// Returns true if the answer may only have had too many fields, or folded ones, and be read by a parser that
/// takes them.
pub(crate) fn may_help(failure: &Failure, lease: &Lease) -> bool {
    // What hyper has read of these cannot be had back from it.
    if lease.is_stream() || lease.conn().may_become_tunnel() {
        return false;
    }
    let options = &lease.origin().shared.config.http1;
    (options.learns_headers() && too_large::is_it(failure.error()))
        || (options.learns_folding() && has_odd_line(failure.error()))
}

/// Returns true if a line of the head is no header field by itself, for which hyper has a kind without a
/// predicate.
fn has_odd_line(error: &hyper::Error) -> bool {
    error.is_parse() && error.to_string().contains("invalid HTTP header")
}

impl Call {
    /// The head of the response, read again if its connection's parser takes too little.
    pub(super) async fn head(&self, lease: &mut Lease) -> Result<Response<Incoming>, Failure> {
        match poll_fn(|cx| lease.poll_head(cx)).await {
            Ok(response) => Ok(response),
            Err(failure) => self.read_again(failure, lease).await,
        }
    }

    /// The answer of an attempt that failed, if reading it again helps.
    async fn read_again(
        &self,
        failure: Failure,
        lease: &mut Lease,
    ) -> Result<Response<Incoming>, Failure> {
        if !may_help(&failure, lease) {
            return Err(failure);
        }
        if !lease.read_again().await {
            return Err(failure);
        }
        let head = poll_fn(|cx| lease.poll_head(cx)).await;
        // Only once it has helped: of a head that no parser reads nothing is learnt.
        if head.is_ok() {
            lease.origin().learn_parser();
        }
        head
    }

    /// Goes on from an attempt that failed and was begun elsewhere.
    pub(crate) async fn run_again(
        mut self,
        failure: Failure,
        mut lease: Lease,
        progress: Arc<Progress>,
    ) -> Result<Response<KeepAliveBody>, KeepAliveError> {
        let pool = lease.origin().clone();
        match self.read_again(failure, &mut lease).await {
            Ok(response) => Ok(self.finish(response, lease, Tunnel::No)),
            Err(failure) => match self.after(failure, lease) {
                After::Fail(error) => Err(error),
                After::Again(request) => {
                    progress.waits(&self);
                    let request = Some(request);
                    let mut span = self.span(&pool, &request);
                    let next = self.ask_again(&pool);
                    let next = next.map_err(|error| self.refused(error, &mut span))?;
                    self.run(pool, request, next, span, progress).await
                }
            },
        }
    }
}
