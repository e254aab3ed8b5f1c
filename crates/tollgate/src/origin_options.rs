//! The options of one origin.

use std::time::Duration;

use tollgate_keep_alive::KeepAliveOriginOptions;

use crate::build_error::BuildError;
use crate::checks::places;

/// The options of one origin, for [`ClientBuilder::origin`](crate::ClientBuilder::origin). Each that
/// is not set is the client's.
#[derive(Clone, Debug, Default)]
#[must_use = "options that are not returned have no effect"]
pub struct OriginOptions {
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_connecting: Option<usize>,
    pub(crate) max_idle: Option<usize>,
    pub(crate) min_idle: Option<usize>,
    pub(crate) max_waiting: Option<usize>,
    pub(crate) acquire_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) connect_timeout: Option<Duration>,
}

impl OriginOptions {
    /// Most connections to this origin. Default: the client's
    /// [`max_connections_per_origin`](crate::ClientBuilder::max_connections_per_origin).
    pub const fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = Some(max);
        self
    }

    /// Most dials in progress to this origin. Default: the client's
    /// [`max_connecting_per_origin`](crate::ClientBuilder::max_connecting_per_origin).
    pub const fn max_connecting(mut self, max: usize) -> Self {
        self.max_connecting = Some(max);
        self
    }

    /// Most idle connections kept to this origin; 0 keeps none. Default: the client's
    /// [`max_idle_per_origin`](crate::ClientBuilder::max_idle_per_origin).
    pub const fn max_idle(mut self, max: usize) -> Self {
        self.max_idle = Some(max);
        self
    }

    /// Idle connections kept to this origin once it has been used. Default: the client's
    /// [`min_idle_per_origin`](crate::ClientBuilder::min_idle_per_origin).
    pub const fn min_idle(mut self, min: usize) -> Self {
        self.min_idle = Some(min);
        self
    }

    /// Most requests waiting for this origin; 0 never queues. Default: the client's
    /// [`max_waiting`](crate::ClientBuilder::max_waiting).
    pub const fn max_waiting(mut self, max: usize) -> Self {
        self.max_waiting = Some(max);
        self
    }

    /// Longest wait for a connection to this origin. Default: the client's
    /// [`acquire_timeout`](crate::ClientBuilder::acquire_timeout).
    pub const fn acquire_timeout(mut self, limit: Duration) -> Self {
        self.acquire_timeout = Some(limit);
        self
    }

    /// How long a connection to this origin may idle, such as less than the 5 s of a Node server
    /// that does not announce them. Default: the client's
    /// [`idle_timeout`](crate::ClientBuilder::idle_timeout).
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// How old a connection to this origin may become. Default: the client's
    /// [`max_lifetime`](crate::ClientBuilder::max_lifetime).
    pub const fn max_lifetime(mut self, limit: Duration) -> Self {
        self.max_lifetime = Some(limit);
        self
    }

    /// The budget of one connect to this origin. Default: the client's
    /// [`connect_timeout`](crate::ClientBuilder::connect_timeout), whose limits on phases stay.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// Refuses what makes no sense. `max_connections` is the client's.
    pub(crate) fn check(&self, max_connections: usize) -> Result<(), BuildError> {
        const NO_LIMIT: &str = "leave the option out for the client's, or name a time";
        for (field, limit) in [
            ("origin.acquire_timeout", self.acquire_timeout),
            ("origin.idle_timeout", self.idle_timeout),
            ("origin.max_lifetime", self.max_lifetime),
            ("origin.connect_timeout", self.connect_timeout),
        ] {
            if limit == Some(Duration::ZERO) {
                return Err(BuildError::zero(field, NO_LIMIT));
            }
        }
        let most = self.max_connections.unwrap_or(max_connections);
        let most = self.max_idle.map_or(most, |max| max.min(most));
        if self.min_idle.is_some_and(|min| min > most) {
            return Err(BuildError::above(
                "origin.min_idle",
                "it cannot exceed this origin's max_connections or max_idle",
            ));
        }
        Ok(())
    }

    /// The pool's part of them; `backstop` is what the pool allows an open beyond the budget.
    pub(crate) fn keep_alive(
        &self,
        backstop: Duration,
    ) -> Result<KeepAliveOriginOptions, BuildError> {
        let mut options = KeepAliveOriginOptions::new();
        if let Some(max) = self.max_connections {
            options = options.max_connections(places("origin.max_connections", max)?);
        }
        if let Some(max) = self.max_connecting {
            options = options.max_connecting(places("origin.max_connecting", max)?);
        }
        if let Some(max) = self.max_idle {
            options = options.max_idle(max);
        }
        if let Some(min) = self.min_idle {
            options = options.min_idle(min);
        }
        if let Some(max) = self.max_waiting {
            options = options.max_waiting(max);
        }
        if let Some(limit) = self.acquire_timeout {
            options = options.acquire_timeout(limit);
        }
        if let Some(limit) = self.idle_timeout {
            options = options.idle_timeout(limit);
        }
        if let Some(limit) = self.max_lifetime {
            options = options.max_lifetime(limit);
        }
        if let Some(limit) = self.connect_timeout {
            options = options.connect_timeout(limit.saturating_add(backstop));
        }
        Ok(options)
    }
}
