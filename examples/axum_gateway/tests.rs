//! What callers and operators of the gateway can count on.

mod failures;
mod fields;
mod hops;
mod messages;
mod ops;
mod shutdown;
mod streams;
mod support;
