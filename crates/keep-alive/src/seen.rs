//! What is seen of a pool: statistics, the detail of an origin.

pub(crate) mod detail;
pub(crate) mod stats;
