//! How the layers are put together.
//!
//! The client has no type parameters, and nothing is boxed for that: the pool forgets the type of
//! its connector anyway. What a builder keeps of a resolver or a connector is the function that puts
//! the stack over it.

use std::fmt;
use std::sync::Arc;

use hyper_util::client::legacy::connect::dns::Name;
#[cfg(not(feature = "hickory"))]
use tollgate_cached_dns::Gai;
use tollgate_cached_dns::{DnsHandle, IntoAnswer};
use tollgate_core::BoxError;
use tollgate_keep_alive::{Connector, KeepAlive, KeepAliveLayer};
use tollgate_queue_metrics::TraceEvents;
use tower_layer::Layer;
use tower_service::Service;

use crate::budgets::Budgets;
use crate::build_error::BuildError;
use crate::builder::ClientBuilder;
use crate::client::Client;
use crate::limits::Defaults;
use crate::no_tls::{NoTls, Plaintext};
use crate::proxies;
use crate::settings::{Observed, Settings};

/// Puts the pool over a resolver or a connector.
#[derive(Clone)]
pub(crate) struct Plane(Arc<dyn Fn(&Settings) -> Assembled + Send + Sync>);

type Assembled = Result<Pools, BuildError>;

/// The pools over one plane, and its DNS cache.
pub(crate) struct Pools {
    pub(crate) calls: KeepAlive,
    /// For exchanges that last, if they are to have one of their own.
    pub(crate) long_lived: Option<KeepAlive>,
    pub(crate) dns: Option<DnsHandle>,
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plane")
    }
}

pub(crate) fn client(builder: ClientBuilder) -> Result<Client, BuildError> {
    let ClientBuilder {
        mut settings,
        plane,
        resolver_named,
        connector_named,
    } = builder;
    settings.check()?;
    if settings
        .watched
        .leak_after
        .is_some_and(|limit| limit.is_zero())
    {
        return Err(BuildError::zero(
            "leak_after",
            "every body would be a leak; leave it out to look for none",
        ));
    }
    if connector_named {
        refuse_idle_parts(&settings, resolver_named)?;
    } else {
        // Not with a connector of the user's, which may go through that very proxy.
        proxies::warn_of_ignored();
    }
    // Before the pools are made, so that both get the same limit.
    settings.share_total();
    // Before others join it: calls and bodies are reported to the application's observer alone.
    settings.named = settings.observer.clone();
    settings.long_lived_named = settings.long_lived_observer.clone();
    settings.watch_own()?;
    settings.observer = Some(traced(settings.observer.take()));
    // Not the client's, which stands for it otherwise and is traced already.
    settings.long_lived_observer = settings.long_lived_observer.map(|own| traced(Some(own)));
    #[cfg(feature = "debug")]
    crate::debug::Failures::keep(&mut settings);
    let Plane(plane) = match plane {
        Some(plane) => plane,
        None => default_plane()?,
    };
    let pools = plane(&settings)?;
    let limits = Defaults::of(&settings)?;
    Ok(Client::with_parts(pools, limits, &settings))
}

/// Puts tracing before the application's observer, which may be slow.
fn traced(observer: Option<Observed>) -> Observed {
    let trace = TraceEvents::new();
    Observed(match observer {
        Some(Observed(observer)) => Arc::new((trace, observer)),
        None => Arc::new(trace),
    })
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
    C: Connector,
{
    Plane(Arc::new(move |settings| {
        let over = |settings: &Settings| {
            let connector = settings.connect()?.layer(connector.clone());
            Ok::<_, BuildError>(settings.keep_alive()?.layer(connector))
        };
        Ok(Pools {
            calls: over(settings)?,
            long_lived: settings.of_long_lived()?.as_ref().map(over).transpose()?,
            dns: None,
        })
    }))
}

pub(crate) fn over_resolver<R>(resolver: R) -> Plane
where
    R: Service<Name> + Clone + Send + Sync + 'static,
    R::Response: IntoAnswer,
    R::Error: Into<BoxError>,
    R::Future: Send,
{
    Plane(Arc::new(move |settings| {
        let names = settings.cached_dns()?.cached(resolver.clone());
        let dns = names.handle();
        let (outcomes, failures) = (dns.clone(), dns.clone());
        let dial = settings
            .dialler()
            .on_outcome(move |addr, outcome| outcomes.report(addr, outcome))
            .on_all_failed(move |host| {
                // The answer may have changed: the cache asks for the name again.
                failures.all_failed(host);
            })
            .layer(names);
        // Both pools go over one dialler and one cache, and so share lookups.
        let over = |settings: &Settings| {
            let (keep_alive, connect) = (settings.keep_alive()?, settings.connect()?);
            secured(settings, &keep_alive, &connect, dial.clone())
        };
        Ok(Pools {
            calls: over(settings)?,
            long_lived: settings.of_long_lived()?.as_ref().map(over).transpose()?,
            dns: Some(dns),
        })
    }))
}

#[cfg(feature = "tls")]
fn secured<C>(
    settings: &Settings,
    keep_alive: &KeepAliveLayer,
    connect: &Budgets,
    dial: C,
) -> Result<KeepAlive, BuildError>
where
    C: Connector,
{
    let mut options = settings.tls.clone().unwrap_or_default();
    if settings.protocol == tollgate_keep_alive::Protocol::Http2 {
        // What is spoken without asking is what has to be offered.
        options = options.alpn(crate::tls::Alpn::Http2);
    }
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
        // TLS was not asked for: a client of http alone needs no roots.
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
    C: Connector,
{
    Ok(keep_alive.layer(connect.layer(Plaintext::new(dial, NoTls::Feature))))
}

/// The system's names, by hickory. A `resolv.conf` that is missing or names no server stands for the
/// server of this machine, as in the C library, until it names one: neither getaddrinfo for good nor a
/// public resolver that was not named is an answer.
#[cfg(feature = "hickory")]
fn default_plane() -> Result<Plane, BuildError> {
    let hickory = tollgate_cached_dns::Hickory::system();
    let hickory = hickory.map_err(|error| BuildError::invalid("resolver", error))?;
    Ok(over_resolver(hickory))
}

#[cfg(not(feature = "hickory"))]
#[expect(clippy::unnecessary_wraps, reason = "its twin with hickory can fail")]
fn default_plane() -> Result<Plane, BuildError> {
    Ok(over_resolver(Gai::new()))
}
