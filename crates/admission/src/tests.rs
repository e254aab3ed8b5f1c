//! The promises, one file each; `model` has the random sequences.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::manual_is_multiple_of,
    clippy::needless_range_loop,
    clippy::print_stdout,
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
mod ending;
mod failing;
mod goodput;
mod growing;
mod handing_over;
mod keeping;
mod lapsing;
mod late;
mod model;
mod opening;
mod queueing;
mod sharing;
mod total;
mod wakes;
