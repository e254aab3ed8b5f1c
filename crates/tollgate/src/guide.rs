//! The guide: what went wrong, which numbers to choose, and what each failure means.
//!
//! | chapter | is about |
//! |---|---|
//! | [`incident`] | the failure this library exists for, and what the client does about each part of it |
//! | [`numbers`] | choosing each number, from what you know of your load |
//! | [`errors`] | every error, what it means for the request, and what to change |
//! | [`failures`] | symptom → where to look → cause → knob |
//! | [`dns`] | how names are resolved, how long answers live, what happens when they change |
//! | [`timeouts`] | which clock covers what |
//! | [`grpc`] | the client as transport of clients that tonic generates |
//! | [`layers`] | what goes above the client, and a name for what that makes |
//! | [`testing`] | tests of your own code, without a port |
//! | [`kernel`] | the settings of the system that matter, and those that do not |
//! | [`migration`] | from reqwest, hyper-util and tonic, line by line |
//! | [`comparison`] | the knobs of Go, .NET and undici by their names |
//! | [`glossary`] | the terms of the documentation and the code |

#[doc = include_str!("guide/incident.md")]
pub mod incident {}

#[doc = include_str!("guide/numbers.md")]
pub mod numbers {}

#[doc = include_str!("guide/errors.md")]
pub mod errors {}

#[doc = include_str!("guide/failures.md")]
pub mod failures {}

#[doc = include_str!("guide/dns.md")]
pub mod dns {}

#[doc = include_str!("guide/timeouts.md")]
pub mod timeouts {}

#[doc = include_str!("guide/grpc.md")]
pub mod grpc {}

#[doc = include_str!("guide/layers.md")]
pub mod layers {}

#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/kernel.md")]
pub mod kernel {}

#[doc = include_str!("guide/migration.md")]
pub mod migration {}

#[doc = include_str!("guide/comparison.md")]
pub mod comparison {}

#[doc = include_str!("guide/glossary.md")]
pub mod glossary {}
