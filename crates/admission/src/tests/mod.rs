//! The promises, one file each; `model` has the random sequences.

mod crowd;
mod model;
mod wakes;
