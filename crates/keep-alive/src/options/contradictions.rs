//! Limits of a request that contradict each other.

use crate::options::invalid::InvalidOption;
use crate::options::origin_options::OriginOptions;

impl OriginOptions {
    /// Refuses limits of a request of which one can never strike before another.
    pub(super) fn check_limits(&self) -> Result<(), InvalidOption> {
        let Self {
            timeout: whole,
            response_timeout: head,
            acquire_timeout: wait,
            body_idle_timeout: silence,
            ..
        } = *self;
        for (name, limit, part, advice) in [
            (
                "response_timeout",
                head,
                wait,
                "it is not longer than acquire_timeout, which it includes; raise it or lower that",
            ),
            (
                "timeout",
                whole,
                head,
                "it is not longer than response_timeout, which it includes; raise it or lower that",
            ),
            (
                "timeout",
                whole,
                wait,
                "it is not longer than acquire_timeout, which it includes; raise it or lower that",
            ),
            (
                "timeout",
                whole,
                silence,
                "it is not longer than body_idle_timeout, which it includes; raise it or lower that",
            ),
        ] {
            if limit.zip(part).is_some_and(|(limit, part)| limit <= part) {
                return Err(InvalidOption::conflict(name, advice));
            }
        }
        Ok(())
    }
}
