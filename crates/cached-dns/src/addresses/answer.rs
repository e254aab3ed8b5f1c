//! The answer of a backend.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use super::awaited::Awaited;
use super::group::Group;

/// A backend's answer about a name.
///
/// An answer without addresses is the same as
/// [`NotFound`](crate::LookupErrorKind::NotFound).
#[non_exhaustive]
pub struct Answer {
    /// The addresses in order of preference. With port 0 the port is the URI's.
    pub addrs: Vec<SocketAddr>,
    /// The time that the answer holds; `None` if the backend does not know, as getaddrinfo.
    pub ttl: Option<Duration>,
    /// `false` if one address family failed or is still out.
    pub complete: bool,
    pub(crate) late: Option<Late>,
    /// The outcome of `late`, for those that were given this answer.
    pub(crate) awaited: Option<Awaited>,
}

/// The family that is still out.
pub(crate) struct Late {
    /// The time that it was waited for.
    pub(crate) waited: Duration,
    pub(crate) rest: Pin<Box<dyn Future<Output = Option<Answer>> + Send>>,
}

impl Answer {
    /// A complete answer whose lifetime is not known.
    pub fn new(addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            addrs: Group::of(addrs).to_vec(),
            ttl: None,
            complete: true,
            late: None,
            awaited: None,
        }
    }

    /// The time that the answer holds.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// One family failed: the cache asks again soon.
    #[must_use]
    pub fn incomplete(mut self) -> Self {
        self.complete = false;
        self
    }

    /// One family is still out; when it arrives, the whole answer replaces this one in the cache.
    ///
    /// The cache awaits `rest` in the background, no longer than the lookup's hard stop. A dial that
    /// was given this answer hears of the whole one ([`tollgate_core::late`]).
    #[must_use]
    pub fn late(self, rest: impl Future<Output = Option<Self>> + Send + 'static) -> Self {
        self.late_after(Duration::ZERO, rest)
    }

    /// As [`late`](Self::late), and the family that is out was already given `waited` to come, which a
    /// dial takes off its resolution delay.
    #[must_use]
    pub fn late_after(
        self,
        waited: Duration,
        rest: impl Future<Output = Option<Self>> + Send + 'static,
    ) -> Self {
        let mut this = self.incomplete();
        let rest = Box::pin(rest);
        this.late = Some(Late { waited, rest });
        this
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("addrs", &self.addrs)
            .field("ttl", &self.ttl)
            .field("complete", &self.complete)
            .field("late", &self.late.is_some())
            .finish_non_exhaustive()
    }
}

/// A response that [`CachedDns`](crate::CachedDns) accepts from a backend: an [`Answer`], or any
/// iterator of addresses, as hyper-util's resolvers return.
pub trait IntoAnswer {
    /// The response as an answer. An iterator gives a complete one of unknown lifetime.
    ///
    /// At most 256 addresses are kept, of which each family gets half if it needs it.
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for Answer {
    fn into_answer(mut self) -> Answer {
        self.addrs = Group::of(self.addrs).to_vec();
        self
    }
}

impl<I: Iterator<Item = SocketAddr>> IntoAnswer for I {
    fn into_answer(self) -> Answer {
        Answer::new(self)
    }
}
