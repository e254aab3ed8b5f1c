//! Runnable examples of Tollgate; each is a file beside this package's manifest.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
