//! The connector.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::Connection;
use hyper_util::client::legacy::connect::dns::Name;
use tollgate_core::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use crate::attempt::TcpAttempt;
use crate::config::Shared;
use crate::error::{DialError, Report};
use crate::future::DialFuture;
use crate::layer::DialLayer;
use crate::stream::DialStream;
use crate::target::{Refusal, Target, check_scheme};

/// Dials the host of a URI over a resolver `R`, one attempt `A` an address. See the
/// [crate's documentation](crate).
///
/// Clones share what was learned about hosts and nothing else.
#[derive(Clone, Debug)]
pub struct Dial<R, A = TcpAttempt> {
    resolver: R,
    attempt: A,
    shared: Arc<Shared>,
}

impl<R> Dial<R> {
    /// With the defaults of [`DialLayer::new`], which is also where the options are.
    pub fn new(resolver: R) -> Self {
        DialLayer::new().layer(resolver)
    }
}

impl<R, A> Dial<R, A> {
    pub(crate) const fn with(resolver: R, attempt: A, shared: Arc<Shared>) -> Self {
        Self {
            resolver,
            attempt,
            shared,
        }
    }

    /// The resolver.
    pub const fn get_ref(&self) -> &R {
        &self.resolver
    }

    /// The resolver.
    pub const fn get_mut(&mut self) -> &mut R {
        &mut self.resolver
    }

    /// The resolver.
    pub fn into_inner(self) -> R {
        self.resolver
    }
}

impl<R, A> Service<Uri> for Dial<R, A>
where
    R: Service<Name>,
    R::Response: IntoIterator<Item = SocketAddr>,
    R::Error: Into<BoxError>,
    A: Service<SocketAddr> + Clone,
    A::Response: Connection,
    A::Error: Into<BoxError>,
{
    type Response = DialStream<A::Response>;
    type Error = DialError;
    type Future = DialFuture<R::Future, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        self.resolver
            .poll_ready(cx)
            .map_err(|error| DialError::resolve(error.into(), Report::default()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let attempt = self.attempt.clone();
        let target = match Target::of(&uri) {
            Ok(target) => target,
            Err(why) => return DialFuture::refused(why, Target::nowhere(), shared, attempt),
        };
        let config = &self.shared.config;
        let to_unix = config.unix_path(&target.host).is_some();
        // Before anything is resolved: a name asked for in the clear tells where a call was to go.
        if let Err(why) = check_scheme(&uri, config.below_tls, to_unix) {
            return DialFuture::refused(why, target, shared, attempt);
        }
        if to_unix {
            return DialFuture::unix(target, shared, attempt);
        }
        if let Some(addr) = target.literal() {
            return DialFuture::literal(target, addr, shared, attempt);
        }
        let Ok(name) = target.host.parse() else {
            let why = Refusal::Invalid("its host is not a name");
            return DialFuture::refused(why, target, shared, attempt);
        };
        DialFuture::resolving(target, self.resolver.call(name), shared, attempt)
    }
}
