//! The promises, one file each; `model` has the random sequences.

mod model;
mod wakes;
