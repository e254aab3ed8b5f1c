//! What callers and operators of the gateway can count on.

mod failures;
mod fields;
mod shutdown;
mod streams;
mod support;
