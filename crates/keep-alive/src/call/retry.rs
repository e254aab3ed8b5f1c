//! The retry decision: whether a request whose attempt failed is sent again.

use std::sync::Arc;

use http::Request;
use hyper::client::conn::TrySendError;
use tollgate_core::{BoxError, CloseReason};

use crate::call::attempt::Call;
use crate::call::too_large::TooLarge;
use crate::connection::driver::is_end;
use crate::connection::erased::ErasedBody;
use crate::connection::http2;
use crate::connection::io::Greeting;
use crate::connection::replay::Replay;
use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::options::no_retry::NoRetry;
use crate::pool::lease::Lease;
use crate::pool::origin_pool::OriginPool;

/// The next step after an attempt that failed.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one match, off the way of a hit"
)]
pub(crate) enum After {
    Again(Request<ErasedBody>),
    Fail(KeepAliveError),
}

/// The evidence of a failed exchange about its request.
struct Evidence {
    /// The number of attempts that may be started again, but for those that were lost with a stale
    /// connection.
    most_attempts: u32,
    /// The peer did not process it, by HTTP/2.
    unprocessed: bool,
    /// Its connection had not served before, or the peer refused it: retries of those are budgeted. Others
    /// are as few as the connections that served.
    fresh: bool,
    replay: MayReplay,
    /// It was lost with its connection.
    lost: bool,
}

/// True if an idempotent request is sent again that was lost without a byte of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MayReplay {
    /// Its connection was fresh, and its peer may have read it; or the pool has stopped, which would refuse
    /// it and cuts connections itself.
    No,
    /// Once in a call.
    Once,
    /// Its connection was stale: that costs no retry.
    Free,
}

impl MayReplay {
    const fn of(silent: bool, stale: bool) -> Self {
        match (silent, stale) {
            (false, _) => Self::No,
            (true, false) => Self::Once,
            (true, true) => Self::Free,
        }
    }
}

/// A peer's wish for HTTP/1.1, as a failed stream shows it.
struct Http1Wish {
    /// It is for this request, which the peer did not process; else for the connection that the request was
    /// lost with.
    of_request: bool,
    granted: bool,
    refused: bool,
}

impl Http1Wish {
    fn of(error: &hyper::Error, lease: &Lease) -> Self {
        let of_request = http2::wants_http1(error);
        let is_there = of_request || lease.conn().requires_http1();
        let granted = is_there && lease.origin().require_http1();
        Self {
            of_request,
            granted,
            refused: is_there && !granted,
        }
    }
}

/// The failure of an exchange.
pub(crate) type Failure = TrySendError<Request<ErasedBody>>;

impl Call {
    /// Decides what follows from an attempt that failed, and gives the lease back.
    pub(crate) fn after(&mut self, mut error: Failure, mut lease: Lease) -> After {
        self.loses(&lease);
        if lease.is_stream() {
            return self.after_stream(error, lease);
        }
        let pool = lease.origin().clone();
        let on = self.timings_on(&lease);
        let replay = lease.take_replay();
        let unsent = error.take_message();
        let error = error.into_error();
        // hyper calls it a mistake of its user that its connection was dropped.
        let cut = lease.conn().reason() == Some(CloseReason::Shutdown);
        let stopped = pool.shared.is_stopped();
        let lost = cut || !(error.is_parse() || error.is_user() || is_nonsense(&error));
        // A pool that has stopped cuts; otherwise the connection's runtime has ended.
        let silent =
            lost && !(cut && stopped) && !lease.conn().io.answered(error.is_incomplete_message());
        let unread = is_reset(&error) || lease.conn().io.refused_a_write();
        let (reused, granted_at) = (lease.may_be_stale(), lease.granted_at());
        let took = granted_at.elapsed();
        let (greeting, tunnel) = (lease.conn().io.greeting(), lease.conn().may_become_tunnel());
        let refusal = lease.conn().refused_by_peer();
        let stale = (silent || unsent.is_some()) && self.stale.is_one(&lease);
        self.lost += u32::from(unsent.is_some() && !stale);
        // All that its connection shows is read by now: from here on it is closing.
        lease.failed(if cut {
            CloseReason::Shutdown
        } else if silent && (is_end(&error) || !is_of_io(&error)) {
            CloseReason::PeerEof
        } else {
            CloseReason::Error
        });
        if silent && reused && !cut {
            // Those that have idled at least as long are most likely dead too: they are closed
            // rather than tried one after the other.
            pool.retire_idle_until(granted_at, CloseReason::PeerEof);
        }
        if let Some(greeting) = greeting {
            // The next connection would meet the same.
            let error = self.not_http1(&pool, greeting, unsent.is_none());
            return After::Fail(error.with_timings(on).with_took(took));
        }
        if let Some(refusal) = refusal.filter(|_| unsent.is_some()) {
            return After::Fail(self.refused_by_peer(&pool, refusal).with_timings(on));
        }
        let replays = silent && (reused || cut || unread) && !stopped;
        let may_replay = MayReplay::of(replays, stale);
        let error = TooLarge::or_other(error, &pool, tunnel);
        let evidence = Evidence {
            most_attempts: pool.shared.config.retry.unsent,
            unprocessed: false,
            fresh: !(reused || cut),
            replay: may_replay,
            lost,
        };
        self.decide(&pool, unsent, replay, &evidence, |call, kind| {
            let error = call.error(&pool, kind).with_source(error);
            error.with_timings(on).with_took(took)
        })
    }

    /// The failure of a call whose peer does not speak HTTP/1.
    pub(super) fn not_http1(
        &self,
        pool: &OriginPool,
        greeting: Greeting,
        was_sent: bool,
    ) -> KeepAliveError {
        let kind = if was_sent {
            KeepAliveErrorKind::Exchange
        } else {
            KeepAliveErrorKind::ClosedBeforeSent
        };
        self.error(pool, kind).with_source(greeting)
    }

    /// The failure of a call whose connection was refused after its handshake, as the next one would be.
    pub(super) fn refused_by_peer(&self, pool: &OriginPool, refusal: BoxError) -> KeepAliveError {
        self.error(pool, KeepAliveErrorKind::Connect)
            .with_source(refusal)
    }

    /// As [`after`](Self::after), for one stream among others: they go on.
    ///
    /// A request that the peer did not process is sent again whatever its method: a refused stream, and
    /// one above the last stream of a GOAWAY (RFC 9113 section 8.7).
    fn after_stream(&mut self, mut error: Failure, mut lease: Lease) -> After {
        let pool = lease.origin().clone();
        let on = self.timings_on(&lease);
        let (replay, reused) = (lease.take_replay(), lease.may_be_stale());
        let mut unsent = error.take_message();
        if let Some(request) = &mut unsent {
            // It comes back as hyper was given it, with the watch on its body.
            lease.unwatch(request);
        }
        let failure = lease.upload_failure();
        let error = error.into_error();
        let took = lease.granted_at().elapsed();
        let http1 = Http1Wish::of(&error, &lease);
        let unprocessed = if http1.of_request {
            http1.granted
        } else {
            http2::is_unprocessed(&error)
        };
        let lost = failure.is_none() && !http1.of_request && is_lost(&error, lease.is_dead());
        if lost {
            // Before the retry is decided: its next demand must not be granted the same connection.
            lease.lost_connection(&error);
        } else if unprocessed {
            lease.refused();
        }
        let retry = &pool.shared.config.retry;
        // A peer that ends its connections after so many requests may do so with all of them at once;
        // one that ends a fresh one would go on for ever.
        let most_attempts = if lost && reused {
            retry.unsent.saturating_mul(4)
        } else {
            retry.unsent
        };
        let stale = lost && self.stale.is_one(&lease);
        let replays = retry.idempotent
            && lost
            && (reused || lease.lost_its_runtime() || is_reset(&error) || http1.granted)
            && !pool.shared.is_stopped();
        let evidence = Evidence {
            most_attempts,
            unprocessed,
            fresh: !(lost && (reused || lease.lost_its_runtime())),
            replay: MayReplay::of(replays, stale),
            lost,
        };
        let config = &pool.shared.config;
        let error = failure.map_or_else(
            || http2::explained(error, config, http1.refused),
            BoxError::from,
        );
        let after = self.decide(&pool, unsent, replay, &evidence, |call, kind| {
            let error = call.error(&pool, kind).with_source(error);
            error.with_timings(on).with_took(took)
        });
        // Last: it forgets what was kept of the body, which the retry has taken by now.
        lease.give_back();
        after
    }

    /// Decides the retry: of what was not sent, what the peer did not process, and what may have
    /// been lost with a connection that was stale, which costs none of the retries.
    fn decide(
        &mut self,
        pool: &Arc<OriginPool>,
        unsent: Option<Request<ErasedBody>>,
        replay: Option<Replay>,
        evidence: &Evidence,
        error: impl FnOnce(&Self, KeepAliveErrorKind) -> KeepAliveError,
    ) -> After {
        let counted = self.attempts - self.stale.count();
        let may_again = evidence.most_attempts > 0 && counted <= evidence.most_attempts;
        let may_replay = match evidence.replay {
            MayReplay::No => false,
            MayReplay::Once => !self.replay_spent,
            MayReplay::Free => true,
        };
        let replay = replay.filter(Replay::is_allowed);
        let nothing_sent = unsent.is_some() || evidence.unprocessed;
        let within_budget = || !evidence.fresh || pool.takes_retry();
        let again = match (unsent, replay) {
            (Some(request), _) => {
                Some(request).filter(|one| may_again && !NoRetry::is_in(one.extensions()))
            }
            (None, Some(replay)) if evidence.unprocessed && may_again => replay.into_request(),
            (None, Some(replay)) if may_replay && replay.is_idempotent() => {
                self.replayed = true;
                self.replay_spent |= evidence.replay == MayReplay::Once;
                replay.into_request()
            }
            (None, _) => None,
        };
        // The budget last: a yes takes from it, and what is not sent again must not.
        match again.filter(|_| within_budget()) {
            Some(request) => After::Again(request),
            None if nothing_sent => After::Fail(error(self, KeepAliveErrorKind::ClosedBeforeSent)),
            None if evidence.lost => After::Fail(error(self, KeepAliveErrorKind::ClosedAfterSent)),
            None => After::Fail(error(self, KeepAliveErrorKind::Exchange)),
        }
    }
}

/// Returns true if a stream was lost with its connection, by the error in hand: the driver may find
/// that out later, on another thread. Everything but a reset of the stream is a loss, and what made
/// no sense is neither.
fn is_lost(error: &hyper::Error, is_dead: bool) -> bool {
    match tollgate_core::error::find::<h2::Error>(error) {
        Some(error) if error.is_go_away() => error.is_remote(),
        Some(error) if error.is_reset() => false,
        _ if is_nonsense(error) => false,
        // hyper calls it a mistake of its user that the connection was dropped.
        _ => is_dead || !(error.is_user() || error.is_parse()),
    }
}

/// Returns true if the connection was reset. A peer that ends resets it if it has not read all that came;
/// one that has read the request, and ends over it, closes it.
fn is_reset(error: &hyper::Error) -> bool {
    let of_h2 = tollgate_core::error::find::<h2::Error>(error);
    let of_io = tollgate_core::error::find::<std::io::Error>(error);
    let kind = of_h2.and_then(h2::Error::get_io).or(of_io);
    kind.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// Returns true if the connection was reset or failed otherwise, rather than just closed.
fn is_of_io(error: &hyper::Error) -> bool {
    tollgate_core::error::find::<std::io::Error>(error).is_some()
}

/// Returns true if what came could not be made sense of below HTTP, or was too much before a final
/// head.
fn is_nonsense(error: &hyper::Error) -> bool {
    tollgate_core::error::find::<std::io::Error>(error)
        .is_some_and(|error| error.kind() == std::io::ErrorKind::InvalidData)
}
