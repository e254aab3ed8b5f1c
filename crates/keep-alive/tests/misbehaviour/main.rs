//! Servers that break the protocol, each in its own way.
//!
//! A table of scripts, each with what has to come of it. Every script is played three times: on a fresh
//! connection, on one that has served before, and with three requests queued behind the broken one. In
//! each play the call ends in time, with the right answer or a typed error; whoever comes next gets its
//! own answer; and all gauges return to zero.

#![allow(clippy::unwrap_used, reason = "a test")]

mod accept;
mod call;
mod chunking;
mod garbage;
mod interim;
mod lengths;
mod play;
mod script;
mod silence;
#[path = "../support/mod.rs"]
mod support;
mod truncation;

use script::Script;

fn table() -> Vec<Script> {
    let parts = [
        lengths::scripts(),
        chunking::scripts(),
        interim::scripts(),
        truncation::scripts(),
        silence::scripts(),
        garbage::scripts(),
    ];
    parts.into_iter().flatten().collect()
}

#[test]
fn at_least_forty_scripts_none_named_twice() {
    let mut names: Vec<_> = table().iter().map(|script| script.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "a name stands there twice");
    assert!(all >= 40, "only {all} scripts");
}
