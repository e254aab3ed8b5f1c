//! The limits of an exchange, as the client keeps them.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::time::Instant;
use tollgate_core::{Limits, Origin};

use crate::build_error::BuildError;
use crate::future::Destination;
use crate::settings::Settings;

/// The limits of requests without limits of their own.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    all: Limits,
    /// Of single origins, with those of all where they have none.
    own: Arc<[(Origin, Limits)]>,
}

/// The limits of one call, and the time from which they count; that is read only if there are any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    start: Option<Instant>,
    whole: Option<Duration>,
    response: Option<Duration>,
    body_idle: Option<Duration>,
    grpc: bool,
}

/// The limits of a request, before its call begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stated {
    limits: Limits,
    grpc: bool,
}

/// A limit that ends at a known time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) at: Instant,
    pub(crate) limit: Duration,
    /// It is that of the whole exchange.
    pub(crate) is_whole: bool,
}

impl Defaults {
    pub(crate) fn of(settings: &Settings) -> Result<Self, BuildError> {
        let all = settings.all.time_limits();
        let own = settings.own()?.into_iter();
        let own = own.map(|(origin, options)| (origin, options.time_limits().or(&all)));
        // Origins without limits of their own are left out: with none in the list, a call makes no
        // origin of its URI.
        let own = own.filter(|(_, limits)| *limits != all).collect();
        Ok(Self { all, own })
    }

    /// The limits of a request to this place; those of its own come first.
    #[inline]
    pub(crate) fn of_call<B>(&self, destination: &Destination, request: &mut Request<B>) -> Stated {
        // Before the extension is read, which it adds to.
        #[cfg(feature = "tonic")]
        crate::grpc::take_timeout(request, || self.at(destination));
        let own = request.extensions().get::<Limits>();
        Stated {
            limits: own.map_or_else(|| self.at(destination), |own| own.or(&self.at(destination))),
            grpc: is_grpc(request),
        }
    }

    fn at(&self, destination: &Destination) -> Limits {
        if self.own.is_empty() {
            return self.all;
        }
        let origin = destination.origin();
        let mut own = self.own.iter();
        let own = own.find(|(named, _)| Some(named) == origin.as_ref());
        own.map_or(self.all, |(_, limits)| *limits)
    }
}

impl Stated {
    /// The limits of a call that has just begun.
    #[inline]
    pub(crate) fn begin(self) -> Kept {
        let Self { limits, grpc } = self;
        let mut kept = Kept {
            start: None,
            whole: limits.timeout,
            response: limits.response_timeout,
            body_idle: limits
                .body_idle_timeout
                // How an exchange that lasts sets the client's limit aside, see `without_end`.
                .filter(|limit| *limit < Duration::MAX),
            grpc,
        };
        if kept.whole.is_some() || kept.response.is_some() || limits.ends_at.is_some() {
            let now = Instant::now();
            let left = limits.ends_at.map(|at| at.saturating_duration_since(now));
            kept.start = Some(now);
            kept.whole = kept.whole.into_iter().chain(left).min();
        }
        kept
    }
}

impl Kept {
    pub(crate) const fn body_idle(&self) -> Option<Duration> {
        self.body_idle
    }

    /// Returns true if the request is a gRPC call, so that its errors want a status.
    pub(crate) const fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// The end of the whole exchange. A limit too long for the clock is none.
    pub(crate) fn whole(&self) -> Option<End> {
        self.end(self.whole, true)
    }

    /// The end of the time in which the head must have come.
    pub(crate) fn head(&self) -> Option<End> {
        let ends = [self.end(self.response, false), self.whole()];
        // Of two equal ends the first: the response's own limit, the narrower name.
        ends.into_iter().flatten().min_by_key(|end| end.at)
    }

    fn end(&self, limit: Option<Duration>, is_whole: bool) -> Option<End> {
        let limit = limit?;
        let at = self.start?.checked_add(limit)?;
        Some(End {
            at,
            limit,
            is_whole,
        })
    }
}

#[cfg(feature = "tonic")]
fn is_grpc<B>(request: &Request<B>) -> bool {
    crate::grpc_timeout::is_call(request.headers())
}

#[cfg(not(feature = "tonic"))]
const fn is_grpc<B>(_: &Request<B>) -> bool {
    false
}
