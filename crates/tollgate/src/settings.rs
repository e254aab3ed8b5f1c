//! The options of a client, and the layers that they make.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tollgate_cached_dns::CachedDnsLayer;
use tollgate_connect_timeout::ConnectTimeoutLayer;
use tollgate_core::{Observer, Origin};
use tollgate_dial::DialLayer;
use tollgate_keep_alive::{KeepAliveLayer, OriginOptions, Protocol, TotalLimit};

use crate::budgets::Budgets;
use crate::build_error::BuildError;
use crate::unused::Unused;

/// The incident this library began with, whose dials hung for minutes; Envoy's `connect_timeout`
/// has the same default.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pool's own limit on a dial fires only where the connector does not keep the budget, such as
/// one that blocks in `poll_ready`.
const BACKSTOP: Duration = Duration::from_secs(5);
/// A lookup outlasts the budget of the connect that asked for it, so that the error names the budget
/// and the answer still fills the cache.
const LOOKUP_MARGIN: Duration = Duration::from_secs(1);
/// tollgate-cached-dns' hard stop: the longest life of a lookup without waiters.
const LOOKUP_LIFE: Duration = Duration::from_secs(10);

/// The layers' own options, and those of the client alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Of all origins.
    pub(crate) all: OriginOptions,
    /// Of single origins, by the name that was given.
    pub(crate) own: Vec<(String, OriginOptions)>,
    pub(crate) keep_alive: KeepAliveLayer,
    pub(crate) watched: crate::exchanges::Watched,
    #[cfg(feature = "debug")]
    pub(crate) failures: Arc<crate::debug::Failures>,
    pub(crate) max_connections_total: Option<usize>,
    /// The same as a limit that the client's pools share; `None` before the client is built.
    pub(crate) total: Option<TotalLimit>,
    /// The cap on connections for exchanges that last, which have a pool of their own then.
    pub(crate) max_long_lived: Option<usize>,
    pub(crate) long_lived_observer: Option<Observed>,
    pub(crate) protocol: Protocol,
    pub(crate) dns_timeout: Option<Duration>,
    pub(crate) tcp_timeout: Option<Duration>,
    pub(crate) tls_timeout: Option<Duration>,
    pub(crate) dns_max_ttl: Option<Duration>,
    pub(crate) dns: Option<CachedDnsLayer>,
    pub(crate) dial: Option<DialLayer>,
    pub(crate) observer: Option<Observed>,
    /// The one that the application gave, which alone sees calls.
    pub(crate) named: Option<Observed>,
    /// The same of exchanges that last, if it is another.
    pub(crate) long_lived_named: Option<Observed>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::TlsOptions>,
}

/// An observer, for options that derive `Debug`.
#[derive(Clone)]
pub(crate) struct Observed(pub(crate) Arc<dyn Observer>);

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl Settings {
    /// Refuses zero in the options of the client alone; the layers refuse their own.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        const NO_LIMIT: &str = "leave the option out for the default, or name a time";
        const AN_ANSWER: &str = "an answer has to live until it is dialled; 1 s is short";
        for (field, limit, advice) in [
            ("dns_timeout", self.dns_timeout, NO_LIMIT),
            ("tcp_timeout", self.tcp_timeout, NO_LIMIT),
            ("tls_timeout", self.tls_timeout, NO_LIMIT),
            ("dns_max_ttl", self.dns_max_ttl, AN_ANSWER),
        ] {
            if limit == Some(Duration::ZERO) {
                return Err(BuildError::zero(field, advice));
            }
        }
        self.keep_alive().map(drop)
    }

    /// The pool's options.
    pub(crate) fn keep_alive(&self) -> Result<KeepAliveLayer, BuildError> {
        let mut layer = self.keep_alive.clone().protocol(self.protocol);
        if let Some(max) = self.max_connections_total {
            let advice = "no request could ever be sent; 1 is the least";
            let max = NonZeroUsize::new(max)
                .ok_or_else(|| BuildError::zero("max_connections_total", advice))?;
            layer = match &self.total {
                Some(shared) => layer.total_limit(shared.clone()),
                // In `check` alone, before the limit that the pools share is made.
                None => layer.max_connections_total(max),
            };
        }
        if let Some(Observed(observer)) = &self.observer {
            layer = layer.observer(Arc::clone(observer));
        }
        layer = layer
            .each_origin(with_backstop(self.all.connect_timeout(self.budget())))
            .map_err(|error| BuildError::option("", error))?;
        for (origin, options) in self.own()? {
            layer = layer
                .origin(origin, with_backstop(options))
                .map_err(|error| BuildError::option("origin.", error))?;
        }
        Ok(layer)
    }

    /// The settings of the pool for exchanges that last, if there is to be one: those of all origins,
    /// but for its cap and for a queue, as none of its places falls free soon.
    pub(crate) fn of_long_lived(&self) -> Result<Option<Self>, BuildError> {
        let Some(max) = self.max_long_lived else {
            return Ok(None);
        };
        if max == 0 {
            return Err(BuildError::zero(
                "max_long_lived_per_origin",
                "no exchange that lasts could ever begin; leave it out for no pool of their own",
            ));
        }
        let capped = |options: OriginOptions| {
            let options = options.max_connections_per_origin(max).max_waiting(0);
            options.min_idle_per_origin(0)
        };
        let own = self
            .own
            .iter()
            .map(|(name, options)| (name.clone(), capped(*options)));
        Ok(Some(Self {
            all: capped(self.all),
            own: own.collect(),
            observer: self
                .long_lived_observer
                .clone()
                .or_else(|| self.observer.clone()),
            // With the client's total limit, which both pools keep.
            ..self.clone()
        }))
    }

    /// The origins that have options of their own, each once: its last call counts, as a whole.
    pub(crate) fn own(&self) -> Result<Vec<(Origin, OriginOptions)>, BuildError> {
        let mut own: Vec<(Origin, OriginOptions)> = Vec::new();
        for (name, options) in &self.own {
            let origin: Origin = name
                .parse()
                .map_err(|error| BuildError::invalid("origin", error))?;
            // By origin, not by text: `http://a` and `http://A:80` are one.
            own.retain(|(named, _)| *named != origin);
            own.push((origin, *options));
        }
        Ok(own)
    }

    /// Has options of single origins reported that no connection ever had.
    pub(crate) fn watch_own(&mut self) -> Result<(), BuildError> {
        let own = self.own()?;
        if !own.is_empty() {
            self.observe_too(&Arc::new(Unused::new(own.into_iter().map(|(o, _)| o))));
        }
        Ok(())
    }

    /// Adds an observer of all pools, behind those that there are.
    pub(crate) fn observe_too<O: Observer>(&mut self, observer: &Arc<O>) {
        let behind = |Observed(first)| Observed(Arc::new((first, Arc::clone(observer))));
        self.long_lived_observer = self.long_lived_observer.take().map(behind);
        let alone = || Observed(observer.clone());
        self.observer = Some(self.observer.take().map_or_else(alone, behind));
    }

    /// The total cap as one limit of all pools of the client that is built.
    pub(crate) fn share_total(&mut self) {
        let max = self.max_connections_total.and_then(NonZeroUsize::new);
        self.total = max.map(TotalLimit::new);
    }

    /// The connect budgets' layer.
    pub(crate) fn connect(&self) -> Result<Budgets, BuildError> {
        let own = self.own()?.into_iter().filter_map(|(origin, options)| {
            let budget = options.own_connect_timeout()?;
            Some((origin, self.connect_within(budget)))
        });
        Ok(Budgets {
            usual: self.connect_within(self.budget()),
            own: own.collect(),
        })
    }

    fn connect_within(&self, budget: Duration) -> ConnectTimeoutLayer {
        let mut layer = ConnectTimeoutLayer::new(budget);
        if let Some(limit) = self.dns_timeout {
            layer = layer.dns(limit);
        }
        if let Some(limit) = self.tcp_timeout {
            layer = layer.tcp(limit);
        }
        if let Some(limit) = self.tls_timeout {
            layer = layer.tls(limit);
        }
        layer
    }

    /// The DNS cache's options.
    pub(crate) fn cached_dns(&self) -> Result<CachedDnsLayer, BuildError> {
        // Origins share lookups, so the longest of their budgets sets the limit.
        let own = self.own()?;
        let own = own
            .iter()
            .filter_map(|(_, options)| options.own_connect_timeout());
        let patience = own
            .fold(self.budget(), Duration::max)
            .saturating_add(LOOKUP_MARGIN);
        // A cache that is configured keeps its own times.
        let mut layer = self.dns.clone().unwrap_or_else(|| {
            CachedDnsLayer::new()
                .lookup_timeout(patience)
                .hard_stop(patience.max(LOOKUP_LIFE))
        });
        if let Some(max) = self.dns_max_ttl {
            layer = layer.max_ttl(max);
        }
        if let Some(Observed(observer)) = &self.observer {
            layer = layer.observer(Arc::clone(observer));
        }
        Ok(layer)
    }

    /// The dialler's options, without a time limit beside the budget.
    pub(crate) fn dialler(&self) -> DialLayer {
        self.dial.clone().unwrap_or_default().connect_timeout(None)
    }

    fn budget(&self) -> Duration {
        self.all.own_connect_timeout().unwrap_or(CONNECT_TIMEOUT)
    }
}

/// Allows the pool more than the budget of a connect; zero stays zero, for the pool to refuse.
fn with_backstop(options: OriginOptions) -> OriginOptions {
    match options.own_connect_timeout() {
        Some(budget) if !budget.is_zero() => {
            options.connect_timeout(budget.saturating_add(BACKSTOP))
        }
        _ => options,
    }
}
