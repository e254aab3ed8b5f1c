//! The command `tollgate`: `doctor` examines this host and an origin, `top` shows a pool or a process
//! live.
//!
//! # Why, and when not
//!
//! Calls to an upstream fail, and the reason may be a limit of this host, a nameserver, an address, a
//! certificate, or a server that closes connections sooner than it announces. `tollgate doctor URL` measures
//! each of them and reports what is wrong, worst first, each finding with its evidence and with the option
//! to set. `tollgate top` answers the other question: which origin is at its limit *now*.
//!
//! It needs nothing of Tollgate in the service: the doctor examines any origin, and `top PID` any
//! process. It sends a few dozen requests to the origin, and waits for half a minute on an idle
//! connection: it is for people and for a deployment's checks, and not for a probe every few seconds.
//!
//! # Example
//!
//! ```text
#![doc = include_str!("../transcripts/doctor.txt")]
//! ```
//!
//! `--json` prints the same for programs. The exit code is 0 without findings, 1 with warnings, 2 if
//! something is critical, and 3 if the command could not be carried out. [`IDS`] are the names of the
//! checks; they do not change.
//!
//! `top` redraws each second until ctrl-c, and `--once` prints one frame. With the URL of an
//! application's `/stats`, which is the JSON of `tollgate::Client::snapshot` (features `serde` and, for
//! the second table, `sockets`):
//!
//! ```text
#![doc = include_str!("../transcripts/top-url.txt")]
//! ```
//!
//! With the number of a process:
//!
//! ```text
#![doc = include_str!("../transcripts/top-pid.txt")]
//! ```
//!
//! # Where it goes in the stack
//!
//! Outside. It is a command of its own, and nothing depends on it:
//! `cargo install tollgate-doctor`. The library is what the command does, for a program that wants a
//! [`Report`] of its own.
//!
//! # Differences from other tools
//!
//! * `linkerd check` has the form: groups of checks, a symbol, a cause, an exit code. It checks a mesh.
//! * `ss`, `dig`, `openssl s_client` and `curl -v` each show one part, and leave the judgement to who
//!   reads them. None measures when an idle connection is closed, or how many a server takes.
//!
//! # Choosing the values
//!
//! `--idle` is how long an idle connection is watched: 35 s, above the pool's own `idle_timeout` of 30 s,
//! since what a server closes later does no harm. `--connections` are opened at once: 32, enough to meet
//! a small limit. Both are load on the origin; set them lower for one that is in trouble.
//!
//! | check | is a finding when |
//! |---|---|
//! | `descriptors` | the soft limit is below 4,096, or a tenth of it is left |
//! | `local-ports` | a destination can have fewer than 10,000 |
//! | `time-wait` | a fifth of the ports to the origin is taken before anything was sent |
//! | `nameserver-lies` | one answers for a name that cannot exist, or denies one that others know |
//! | `nameserver-silent` | one does not answer two packets in 1.5 s each |
//! | `nameserver-slow` | its fastest answer takes 200 ms |
//! | `resolves` | no nameserver has an address |
//! | `search-list` | `ndots` sends a name with dots through the search list first |
//! | `ttl` | the shortest is below 5 s |
//! | `reachable`, `addresses` | no address connects; some do not, or a whole family |
//! | `connect-time` | TCP takes 300 ms or TLS 700 ms, the best of three |
//! | `tls` | the handshake fails, or the certificate is not trusted |
//! | `http` | the request fails, or the answer is a 5xx |
//! | `keep-alive` | `Connection: close`, HTTP/1.0, or a close right after the answer |
//! | `keep-alive-hint` | `Keep-Alive: timeout=` is longer than what was measured |
//! | `idle-close` | an idle connection is closed before the pool's 30 s, unannounced |
//! | `connections` | not all that are opened at once are served |
//! | `limit`, `refusals` | with `--stats`: the pool's limit is below the advice for its load; requests are refused |
//!
//! # Backpressure and clones
//!
//! One examination at a time; every step has a limit of its own, on time and on how much it opens.
//!
//! # Cancel safety
//!
//! Dropping [`Doctor::run`] closes every connection that it opened.
//!
//! # Errors
//!
//! What cannot be measured is a check with [`Status::Skipped`] and its reason. Only a URL or a file
//! that cannot be used is an error.
//!
//! # Metrics
//!
//! None.

mod doctor;
mod stats;
mod top;

pub use doctor::{CONNECTIONS, Check, Doctor, IDLE, IDS, Report, Status};
pub use top::{INTERVAL, Top, TopTarget};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
