//! What a builder refuses.

use std::num::NonZeroUsize;
use std::time::Duration;

use tollgate_core::Origin;

use crate::build_error::BuildError;
use crate::settings::{MAX_CONNECTIONS, Settings};

impl Settings {
    /// Refuses what makes no sense whatever the parts are.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        const NO_LIMIT: &str = "leave the option out for the default, or name a time";
        for (field, limit, advice) in [
            (
                "acquire_timeout",
                self.acquire_timeout,
                "max_waiting(0) never waits; else name a time",
            ),
            (
                "idle_timeout",
                self.idle_timeout,
                "max_idle_per_origin(0) keeps nothing; else name a time",
            ),
            ("max_lifetime", self.max_lifetime, NO_LIMIT),
            (
                "connect_timeout",
                self.connect_timeout,
                "no connection is made in no time",
            ),
            ("dns_timeout", self.dns_timeout, NO_LIMIT),
            ("tcp_timeout", self.tcp_timeout, NO_LIMIT),
            ("tls_timeout", self.tls_timeout, NO_LIMIT),
            ("response_timeout", self.response_timeout, NO_LIMIT),
            ("body_idle_timeout", self.body_idle_timeout, NO_LIMIT),
            (
                "dns_max_ttl",
                self.dns_max_ttl,
                "an answer has to live until it is dialled; 1 s is short",
            ),
        ] {
            if limit == Some(Duration::ZERO) {
                return Err(BuildError::zero(field, advice));
            }
        }
        let most = [
            self.max_idle_per_origin,
            Some(self.max_connections_per_origin.unwrap_or(MAX_CONNECTIONS)),
            self.max_connections_total,
        ];
        if most
            .into_iter()
            .flatten()
            .any(|most| self.min_idle_per_origin > most)
        {
            return Err(BuildError::above(
                "min_idle_per_origin",
                "more cannot be kept than max_idle_per_origin, max_connections_per_origin and \
                 max_connections_total allow",
            ));
        }
        let max_connections = self.max_connections_per_origin.unwrap_or(MAX_CONNECTIONS);
        self.origins
            .iter()
            .try_for_each(|(_, options)| options.check(max_connections))
    }
}

pub(crate) fn origin(name: &str) -> Result<Origin, BuildError> {
    name.parse()
        .map_err(|error| BuildError::invalid("origin", error))
}

pub(crate) fn places(field: &'static str, max: usize) -> Result<NonZeroUsize, BuildError> {
    NonZeroUsize::new(max)
        .ok_or_else(|| BuildError::zero(field, "no request could ever be sent; 1 is the least"))
}
