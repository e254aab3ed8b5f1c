//! HTTP as servers really speak it: what they say and when is data, and a case is three lines.
//!
//! ```text
//! case("a GET meets the FIN of an idle connection", "9112 9.3.1", "sent on a new connection")
//!     .server([vec![Head, says(OK), Close, Mark], vec![Head, says(OK)]]).client(vec![get(), Blocked(1), get()])
//!     .right(|seen| seen.answers() == ["200 ok", "200 ok"]),
//! ```
//!
//! [`script`] has the words: [`Step`](script::Step)s of the server, one list for each connection, and
//! [`Do`](script::Do)s of the client. [`play`] plays a case against the pool over `tollgate-dial`, and,
//! where that instructs, against hyper-util's legacy client beside it. Each test prints its table: case,
//! right behaviour, ours, theirs; what is asserted is ours. `h1` and `h2` hold the cases, and
//! [`tls`] plays most of them once more below TLS, where HTTP/2 is agreed on by ALPN. Time is real here:
//! a row that is wrong is played again if its threads did not run for a while, which [`stalls`] sees.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    dead_code,
    reason = "a test that prints its table; a script has words that no case uses yet"
)]

mod client;
mod h1;
mod h2;
mod play;
mod script;
mod server;
mod stalls;
mod table;
mod tls;
