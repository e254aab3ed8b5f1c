//! What may go wrong on purpose.

use clap::ValueEnum;

/// The number of origins that [`Fault::ManyOrigins`] has: more than metrics tell apart.
pub(crate) const MANY: usize = 128;

/// A fault of the upstream that load brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// No socket listens where the upstream should be: every dial is refused
    ClosedPort,
    /// The nameserver knows no such name: every lookup fails
    NoSuchName,
    /// The upstream goes by 128 names, in turn: more origins than have metrics of their own
    ManyOrigins,
}

impl Fault {
    /// Returns true if no request can be answered.
    pub(crate) fn silences(self) -> bool {
        match self {
            Self::ClosedPort | Self::NoSuchName => true,
            Self::ManyOrigins => false,
        }
    }

    /// Returns the headline of the fault.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::ClosedPort => "whose port is closed",
            Self::NoSuchName => "whose name does not resolve",
            Self::ManyOrigins => "that goes by many names",
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_queue_metrics::MAX_ORIGINS;

    use super::*;

    #[test]
    fn the_many_origins_fault_exceeds_the_metrics_limit() {
        assert!(MANY > MAX_ORIGINS.get());
        let value = Fault::ManyOrigins.to_possible_value().unwrap();
        let help = value.get_help().unwrap().to_string();
        assert!(help.contains(&MANY.to_string()), "{help}");
    }
}
