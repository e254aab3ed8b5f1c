//! Which requests share a limit. No Tower in here.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use tollgate_core::{HasOrigin, Origin};

use crate::limiter::Limiter;
use crate::slot::Slot;

/// Each [`Origin`] has a limit of its own; requests that do not say where they go share one.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PerOrigin;

/// All requests share one limit.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WholeService;

/// Each key that `F` makes of a request has a limit of its own.
pub struct PerKey<F>(Arc<F>);

impl<F> PerKey<F> {
    pub(crate) fn new(key_of: F) -> Self {
        Self(Arc::new(key_of))
    }
}

impl<F> Clone for PerKey<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> fmt::Debug for PerKey<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerKey").finish_non_exhaustive()
    }
}

/// The limits of one service and of its clones: one for each key `Q`, which the rule `F` finds for a
/// request.
pub struct Keyed<Q, F> {
    limiter: Arc<Limiter<Q>>,
    rule: F,
}

impl<Q, F> Keyed<Q, F> {
    pub(crate) const fn new(limiter: Arc<Limiter<Q>>, rule: F) -> Self {
        Self { limiter, rule }
    }

    pub(crate) const fn limiter(&self) -> &Arc<Limiter<Q>> {
        &self.limiter
    }
}

impl<Q, F: Clone> Clone for Keyed<Q, F> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.limiter), self.rule.clone())
    }
}

impl<Q, F: fmt::Debug> fmt::Debug for Keyed<Q, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

/// Limits that are found for requests of type `Req`: those of [`PerOrigin`], [`WholeService`] or
/// [`PerKey`].
///
/// It is sealed, by a type that has no name outside: a rule of your own is [`PerKey`].
pub trait LimitBy<Req> {
    #[doc(hidden)]
    fn slot_of(&self, request: &Req) -> Arc<Slot>;
}

impl<Req: HasOrigin> LimitBy<Req> for Keyed<Origin, PerOrigin> {
    fn slot_of(&self, request: &Req) -> Arc<Slot> {
        // By reference first: a known origin costs no copy of its name.
        if let Some(borrowed) = request.origin_ref() {
            let known = self.limiter.find(&borrowed, |known| borrowed == *known);
            return known.unwrap_or_else(|| {
                let origin = borrowed.to_origin();
                self.limiter.insert(origin.clone(), Some(origin))
            });
        }
        match request.origin() {
            Some(origin) => {
                let known = self.limiter.find(&origin, |known| origin == *known);
                known.unwrap_or_else(|| self.limiter.insert(origin.clone(), Some(origin)))
            }
            None => Arc::clone(self.limiter.shared()),
        }
    }
}

impl<Req> LimitBy<Req> for Keyed<(), WholeService> {
    fn slot_of(&self, _: &Req) -> Arc<Slot> {
        Arc::clone(self.limiter.shared())
    }
}

impl<Req, Q, F> LimitBy<Req> for Keyed<Q, PerKey<F>>
where
    Q: Eq + Hash,
    F: Fn(&Req) -> Q,
{
    fn slot_of(&self, request: &Req) -> Arc<Slot> {
        // Called before any lock is taken: it is the caller's code.
        let key = (self.rule.0)(request);
        let known = self.limiter.find(&key, |known| key == *known);
        known.unwrap_or_else(|| self.limiter.insert(key, None))
    }
}
