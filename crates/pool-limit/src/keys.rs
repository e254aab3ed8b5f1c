//! Which requests share a limit. No Tower in here.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use tollgate_core::{HasOrigin, Origin, OriginRef};

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

/// Each key `Q` that `F` makes of a request has a limit of its own.
pub struct PerKey<Q, F> {
    key_of: Arc<F>,
    key: PhantomData<fn() -> Q>,
}

impl<Q, F> PerKey<Q, F> {
    pub(crate) fn new(key_of: F) -> Self {
        Self {
            key_of: Arc::new(key_of),
            key: PhantomData,
        }
    }
}

impl<Q, F> Clone for PerKey<Q, F> {
    fn clone(&self) -> Self {
        Self {
            key_of: Arc::clone(&self.key_of),
            key: PhantomData,
        }
    }
}

impl<Q, F> fmt::Debug for PerKey<Q, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerKey").finish_non_exhaustive()
    }
}

/// A way to tell which requests share a limit: [`PerOrigin`], [`PerKey`] or [`WholeService`].
pub trait Scheme {
    /// What tells the limits apart.
    type Key;
}

impl Scheme for PerOrigin {
    type Key = Origin;
}

impl Scheme for WholeService {
    type Key = ();
}

impl<Q, F> Scheme for PerKey<Q, F> {
    type Key = Q;
}

/// A [`Scheme`] for requests of type `Req`.
///
/// It is sealed: a scheme of your own is [`PerKey`].
pub trait LimitBy<Req>: Scheme + sealed::Find<Req> + Sized {}

impl<K: Scheme + sealed::Find<Req>, Req> LimitBy<Req> for K {}

pub(crate) mod sealed {
    use super::{Arc, Limiter, Scheme, Slot};

    #[expect(unnameable_types, reason = "nobody else implements or calls it")]
    pub trait Find<Req>: Scheme + Sized {
        fn find(limiter: &Limiter<Self>, request: &Req) -> Arc<Slot>;
    }
}

impl<Req: HasOrigin> sealed::Find<Req> for PerOrigin {
    fn find(limiter: &Limiter<Self>, request: &Req) -> Arc<Slot> {
        if let Some(borrowed) = request.origin_ref() {
            let lookup: &dyn AsOriginRef = &borrowed;
            return limiter.find(lookup).unwrap_or_else(|| {
                let origin = borrowed.to_origin();
                limiter.insert(origin.clone(), Some(origin))
            });
        }
        match request.origin() {
            Some(origin) => limiter
                .find(&origin)
                .unwrap_or_else(|| limiter.insert(origin.clone(), Some(origin))),
            None => Arc::clone(limiter.shared()),
        }
    }
}

impl<Req> sealed::Find<Req> for WholeService {
    fn find(limiter: &Limiter<Self>, _: &Req) -> Arc<Slot> {
        Arc::clone(limiter.shared())
    }
}

impl<Req, Q, F> sealed::Find<Req> for PerKey<Q, F>
where
    Q: Eq + Hash,
    F: Fn(&Req) -> Q,
{
    fn find(limiter: &Limiter<Self>, request: &Req) -> Arc<Slot> {
        let key = (limiter.scheme().key_of)(request);
        limiter
            .find(&key)
            .unwrap_or_else(|| limiter.insert(key, None))
    }
}

/// Lets a map keyed by [`Origin`] be asked with an [`OriginRef`].
trait AsOriginRef {
    fn as_origin_ref(&self) -> OriginRef<'_>;
}

impl AsOriginRef for Origin {
    fn as_origin_ref(&self) -> OriginRef<'_> {
        self.as_ref()
    }
}

impl AsOriginRef for OriginRef<'_> {
    fn as_origin_ref(&self) -> OriginRef<'_> {
        *self
    }
}

impl<'a> Borrow<dyn AsOriginRef + 'a> for Origin {
    fn borrow(&self) -> &(dyn AsOriginRef + 'a) {
        self
    }
}

impl Hash for dyn AsOriginRef + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_origin_ref().hash(state);
    }
}

impl PartialEq for dyn AsOriginRef + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.as_origin_ref() == other.as_origin_ref()
    }
}

impl Eq for dyn AsOriginRef + '_ {}
