//! What a backend says.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use crate::awaited::Awaited;

/// What a backend found out about a name.
///
/// An answer without addresses is the same as
/// [`NotFound`](crate::LookupErrorKind::NotFound).
#[non_exhaustive]
pub struct Answer {
    /// The addresses in order of preference. Port 0 leaves the port to the URI.
    pub addrs: Vec<SocketAddr>,
    /// How long the answer holds; `None` if the backend does not know, as getaddrinfo.
    pub ttl: Option<Duration>,
    /// `false` if one address family failed or is still out.
    pub complete: bool,
    pub(crate) late: Option<Late>,
    /// What became of `late`, for those who were given this answer.
    pub(crate) awaited: Option<Awaited>,
}

/// The family that is still out.
pub(crate) struct Late {
    /// How long it was waited for.
    pub(crate) waited: Duration,
    pub(crate) rest: Pin<Box<dyn Future<Output = Option<Answer>> + Send>>,
}

impl Answer {
    /// A complete answer whose lifetime is not known.
    pub fn new(addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            addrs: addrs.into_iter().take(MAX_ADDRS).collect(),
            ttl: None,
            complete: true,
            late: None,
            awaited: None,
        }
    }

    /// How long the answer holds.
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

/// The most addresses kept of one answer. A UDP answer of 1,232 bytes holds fewer than 80; a
/// hostile one over TCP could hold 4,000.
pub(crate) const MAX_ADDRS: usize = 256;

/// What [`CachedDns`](crate::CachedDns) accepts as a backend's response: an [`Answer`], or any
/// iterator of addresses, as hyper-util's resolvers return.
pub trait IntoAnswer {
    /// The response as an answer. An iterator gives a complete one of unknown lifetime, of which
    /// the first 256 addresses are kept.
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for Answer {
    fn into_answer(mut self) -> Answer {
        self.addrs.truncate(MAX_ADDRS);
        self
    }
}

impl<I: Iterator<Item = SocketAddr>> IntoAnswer for I {
    fn into_answer(self) -> Answer {
        Answer::new(self)
    }
}
