//! What follows from an attempt that failed.

use http::Request;
use hyper::client::conn::TrySendError;
use tollgate_core::CloseReason;

use super::Call;
use crate::driver::is_end;
use crate::erased::ErasedBody;
use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::lease::Lease;
use crate::no_retry::NoRetry;
use crate::request::Replay;

/// What an attempt that failed leaves to do.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one match, off the way of a hit"
)]
pub(crate) enum After {
    Again(Request<ErasedBody>),
    Fail(KeepAliveError),
}

/// What an exchange that failed says about its request.
struct Saying {
    /// After how many attempts nothing is started again.
    most_attempts: u32,
    /// The peer says that it did not process it.
    unprocessed: bool,
    /// It was lost with a connection that was stale: an idempotent one may be sent once more, unless
    /// the pool has stopped, which would refuse it and cuts connections itself.
    may_replay: bool,
    /// It was lost with its connection.
    lost: bool,
}

/// How an exchange failed.
pub(crate) type Failure = TrySendError<Request<ErasedBody>>;

impl Call {
    /// Decides what follows from an attempt that failed, and gives the lease back.
    pub(crate) fn after(&mut self, mut error: Failure, mut lease: Lease) -> After {
        if lease.is_stream() {
            return self.after_stream(error, lease);
        }
        let pool = lease.origin().clone();
        let replay = lease.take_replay();
        let unsent = error.take_message();
        self.lost += u32::from(unsent.is_some());
        let error = error.into_error();
        // hyper calls it a mistake of its user that its connection was dropped.
        let cut = lease.conn().reason() == Some(CloseReason::Shutdown);
        let lost = cut || !(error.is_parse() || error.is_user() || is_nonsense(&error));
        let silent = lost && !cut && !lease.conn().io.answered(error.is_incomplete_message());
        let (reused, granted_at) = (lease.may_be_stale(), lease.granted_at());
        let took = granted_at.elapsed();
        lease.failed(if silent && (is_end(&error) || !is_of_io(&error)) {
            CloseReason::PeerEof
        } else {
            CloseReason::Error
        });
        if silent && reused {
            // Those that have idled at least as long are most likely dead too: they are closed
            // rather than tried one after the other.
            pool.retire_idle_until(granted_at, CloseReason::PeerEof);
        }
        let saying = Saying {
            most_attempts: pool.shared.config.retry.unsent,
            unprocessed: false,
            may_replay: silent && !pool.shared.is_stopped(),
            lost,
        };
        self.decide(unsent, replay, &saying, |call, kind| {
            call.error(&pool, kind).with_source(error).with_took(took)
        })
    }

    /// As [`after`](Self::after), for one stream among others: they go on.
    ///
    /// What the peer says it did not process is sent again whatever its method: a refused stream, and
    /// one that a GOAWAY leaves out (RFC 9113 section 8.7).
    fn after_stream(&mut self, mut error: Failure, mut lease: Lease) -> After {
        let pool = lease.origin().clone();
        let (replay, reused) = (lease.take_replay(), lease.may_be_stale());
        let mut unsent = error.take_message();
        if let Some(request) = &mut unsent {
            lease.unwatch(request);
        }
        let error = error.into_error();
        let (lost, took) = (lease.is_dead(), lease.granted_at().elapsed());
        let unprocessed = crate::http2::is_unprocessed(&error);
        if unprocessed && !lost {
            lease.refused();
        }
        let retry = &pool.shared.config.retry;
        // A peer that ends its connections after so many requests may do so with all of them at once.
        let most_attempts = if lost {
            retry.unsent.saturating_mul(4)
        } else {
            retry.unsent
        };
        let saying = Saying {
            most_attempts,
            unprocessed,
            may_replay: retry.idempotent
                && !self.replayed
                && lost
                && reused
                && !pool.shared.is_stopped(),
            lost,
        };
        let after = self.decide(unsent, replay, &saying, |call, kind| {
            call.error(&pool, kind).with_source(error).with_took(took)
        });
        lease.give_back();
        after
    }

    /// What is sent again: what was not sent, what the peer says it did not process, and once what
    /// may have been lost with a connection that was stale.
    fn decide(
        &mut self,
        unsent: Option<Request<ErasedBody>>,
        replay: Option<Replay>,
        saying: &Saying,
        error: impl FnOnce(&Self, KeepAliveErrorKind) -> KeepAliveError,
    ) -> After {
        let may_again = self.attempts <= saying.most_attempts;
        let replay = replay.filter(Replay::is_allowed);
        let nothing_sent = unsent.is_some() || saying.unprocessed;
        let again = match (unsent, replay) {
            (Some(request), _) => {
                Some(request).filter(|one| may_again && !NoRetry::is_in(one.extensions()))
            }
            (None, Some(replay)) if saying.unprocessed && may_again => replay.into_request(),
            (None, Some(replay)) if saying.may_replay && replay.is_idempotent() => {
                self.replayed = true;
                replay.into_request()
            }
            (None, _) => None,
        };
        match again {
            Some(request) => After::Again(request),
            None if nothing_sent => After::Fail(error(self, KeepAliveErrorKind::ClosedBeforeSent)),
            None if saying.lost => After::Fail(error(self, KeepAliveErrorKind::ClosedAfterSent)),
            None => After::Fail(error(self, KeepAliveErrorKind::Exchange)),
        }
    }
}

/// Whether the connection was reset or failed otherwise, rather than just closed.
fn is_of_io(error: &hyper::Error) -> bool {
    tollgate_core::error::find::<std::io::Error>(error).is_some()
}

/// Whether what came could not be made sense of below HTTP, or was too much before a final head.
fn is_nonsense(error: &hyper::Error) -> bool {
    tollgate_core::error::find::<std::io::Error>(error)
        .is_some_and(|error| error.kind() == std::io::ErrorKind::InvalidData)
}
