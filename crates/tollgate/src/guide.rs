//! The guide.
pub mod dns {}
pub mod errors {}
pub mod numbers {}
