//! How the layers are put together.
//!
//! The client has no type parameters, and nothing is boxed for that: the pool forgets the type of
//! its connector anyway. What a builder keeps of a resolver or a connector is the function that puts
//! the stack over it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use hyper_util::client::legacy::connect::dns::Name;
use pin_project_lite::pin_project;
use tollgate_cached_dns::{DnsHandle, Gai, IntoAnswer};
use tollgate_core::{BoxError, Observer};
use tollgate_dial::{Dial, DialError, DialFailure};
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer};
use tollgate_queue_metrics::TraceEvents;
use tower_layer::Layer;
use tower_service::Service;

use crate::budgets::Budgets;
use crate::build_error::BuildError;
use crate::builder::ClientBuilder;
use crate::client::Client;
use crate::plaintext::{NoTls, Plaintext};
use crate::settings::Settings;

/// Puts the pool over what the builder was given.
pub(crate) type Plane =
    Arc<dyn Fn(&Settings) -> Result<(KeepAlive, Option<DnsHandle>), BuildError> + Send + Sync>;

pub(crate) fn client(builder: ClientBuilder) -> Result<Client, BuildError> {
    let ClientBuilder {
        mut settings,
        plane,
        resolver_named,
        connector_named,
    } = builder;
    settings.check()?;
    if connector_named {
        refuse_idle_parts(&settings, resolver_named)?;
    }
    settings.observer = Some(traced(settings.observer.take()));
    let plane = plane.unwrap_or_else(default_plane);
    let (pool, dns) = plane(&settings)?;
    Ok(Client::with_parts(pool, dns, &settings))
}

/// What happens is traced first: an observer of the application's may take its time.
fn traced(observer: Option<Arc<dyn Observer>>) -> Arc<dyn Observer> {
    let trace = TraceEvents::new();
    match observer {
        Some(observer) => Arc::new((trace, observer)),
        None => Arc::new(trace),
    }
}

/// A part that a connector replaces would have no effect, and its owner would not notice.
fn refuse_idle_parts(settings: &Settings, resolver_named: bool) -> Result<(), BuildError> {
    let parts = [
        ("resolver", resolver_named),
        ("dns", settings.dns.is_some()),
        ("dial", settings.dial.is_some()),
        #[cfg(feature = "tls")]
        ("tls", settings.tls.is_some()),
    ];
    match parts.into_iter().find(|(_, named)| *named) {
        Some((field, _)) => Err(BuildError::conflict(
            field,
            "a connector takes the place of DNS, dial and TLS; name it or these",
        )),
        None => Ok(()),
    }
}

pub(crate) fn over_connector<C>(connector: C) -> Plane
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    Arc::new(move |settings| {
        let connector = settings.connect()?.layer(connector.clone());
        Ok((settings.keep_alive()?.layer(connector), None))
    })
}

pub(crate) fn over_resolver<R>(resolver: R) -> Plane
where
    R: Service<Name> + Clone + Send + Sync + 'static,
    R::Response: IntoAnswer,
    R::Error: Into<BoxError>,
    R::Future: Send,
{
    Arc::new(move |settings| {
        let names = settings.cached_dns()?.cached(resolver.clone());
        let dns = names.handle();
        let outcomes = dns.clone();
        let dial = settings
            .dialler()
            .on_outcome(move |addr, outcome| outcomes.report(addr, outcome))
            .layer(names);
        let told = Told {
            dial,
            dns: dns.clone(),
        };
        let pool = secured(
            settings,
            &settings.keep_alive()?,
            &settings.connect()?,
            told,
        )?;
        Ok((pool, Some(dns)))
    })
}

#[cfg(feature = "tls")]
fn secured<C>(
    settings: &Settings,
    keep_alive: &KeepAliveLayer,
    connect: &Budgets,
    dial: C,
) -> Result<KeepAlive, BuildError>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    let options = settings.tls.clone().unwrap_or_default();
    if settings.protocol == tollgate_keep_alive::Protocol::Http1
        && options.offers() != crate::tls::Alpn::Http1
    {
        return Err(BuildError::conflict(
            "tls",
            "the pool is to speak HTTP/1.1 only; leave TlsOptions::alpn at Alpn::Http1, or the \
             protocol at Protocol::Auto",
        ));
    }
    match options.layer() {
        Ok(tls) => Ok(keep_alive.layer(connect.layer(tls.layer(dial)))),
        Err(error) if settings.tls.is_some() => Err(BuildError::invalid("tls", error)),
        // Nobody asked for TLS: who speaks only http has to trust nobody.
        Err(error) => {
            let why = NoTls::Untrusting(Arc::new(error));
            Ok(keep_alive.layer(connect.layer(Plaintext::new(dial, why))))
        }
    }
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "its twin with TLS can fail")]
fn secured<C>(
    _: &Settings,
    keep_alive: &KeepAliveLayer,
    connect: &Budgets,
    dial: C,
) -> Result<KeepAlive, BuildError>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    Ok(keep_alive.layer(connect.layer(Plaintext::new(dial, NoTls::Feature))))
}

/// The system's names: hickory, and getaddrinfo where hickory finds no configuration. A public
/// resolver that nobody named is not an answer.
#[cfg(feature = "hickory")]
fn default_plane() -> Plane {
    match tollgate_cached_dns::Hickory::system() {
        Ok(hickory) => over_resolver(hickory),
        Err(error) => {
            tracing::warn!(%error, "no usable resolv.conf: names are resolved by getaddrinfo, without TTLs");
            over_resolver(Gai::new())
        }
    }
}

#[cfg(not(feature = "hickory"))]
fn default_plane() -> Plane {
    over_resolver(Gai::new())
}

/// A dialler that tells the DNS cache when every address of a name failed: it may have moved.
#[derive(Clone, Debug)]
struct Told<R> {
    dial: Dial<R>,
    dns: DnsHandle,
}

impl<R> Service<Uri> for Told<R>
where
    Dial<R>: Service<Uri, Error = DialError>,
{
    type Response = <Dial<R> as Service<Uri>>::Response;
    type Error = DialError;
    type Future = TellingFuture<<Dial<R> as Service<Uri>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        self.dial.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        TellingFuture {
            dialling: self.dial.call(uri),
            dns: self.dns.clone(),
        }
    }
}

pin_project! {
    struct TellingFuture<F> {
        #[pin]
        dialling: F,
        dns: DnsHandle,
    }
}

impl<F, T> Future for TellingFuture<F>
where
    F: Future<Output = Result<T, DialError>>,
{
    type Output = Result<T, DialError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.dialling.poll(cx));
        if let Err(error) = &outcome
            && error.failure() == DialFailure::AllFailed
        {
            this.dns.all_failed(error.host());
        }
        Poll::Ready(outcome)
    }
}
