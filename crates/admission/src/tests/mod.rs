//! The promises, one file each; `model` has the random sequences.
#![allow(
    clippy::cast_possible_truncation,
    clippy::manual_is_multiple_of,
    clippy::needless_range_loop,
    clippy::similar_names,
    clippy::unused_self,
    clippy::wrong_self_convention,
    reason = "random numbers are cut to size, and steps of a model are all methods"
)]

mod ageing;
mod bench;
mod crowd;
#[cfg(not(loom))] // its mutex is loom's then, and works only in a model: `tests/loom`
mod effects;
mod failing;
mod handing_over;
mod keeping;
mod model;
mod opening;
mod queueing;
mod sharing;
mod total;
mod wakes;
