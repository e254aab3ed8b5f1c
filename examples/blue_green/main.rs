//! Blue/green: an upstream moves from 127.0.0.2 to 127.0.0.3 by DNS, under a steady load of 64
//! callers. `tollgate::Client` beside reqwest and hyper-util's legacy client, each with its defaults;
//! the two resolve by hickory with its own. Two seconds after the TTL the old upstream is switched off.
//!
//! `blue_green [TTL in seconds, by default 2]` prints a table, and fails if Tollgate lost a request
//! or left traffic behind.

mod scenario;

use std::io::Write;
use std::time::Duration;

use scenario::{CALLERS, GRACE, Outcome, Who, run};
use tower::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ttl = std::env::args().nth(1).map_or(Ok(2), |ttl| ttl.parse())?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{CALLERS} callers, TTL {ttl} s, blue off {GRACE:?} after it"
    )?;
    writeln!(
        out,
        "{:<10}{:>10}{:>14}{:>10}{:>18}{:>12}{:>10}",
        "client", "requests", "moved after", "failed", "failed, blue off", "at a time", "to green"
    )?;
    let mut ours = None;
    for who in [Who::Tollgate, Who::Reqwest, Who::Legacy] {
        let outcome = run(who, ttl).await;
        let moved = outcome.moved_after.map_or_else(
            || "never".to_owned(),
            |after| format!("{:.2} s", after.as_secs_f64()),
        );
        let Outcome {
            requests,
            failed,
            failed_after,
            most_at_once,
            to_green,
            ..
        } = outcome;
        writeln!(
            out,
            "{:<10}{requests:>10}{moved:>14}{failed:>10}{failed_after:>18}{most_at_once:>12}{to_green:>10}",
            format!("{who:?}").to_lowercase(),
        )?;
        ours = ours.or(Some(outcome));
    }
    let limit = Duration::from_secs(ttl.into()) + GRACE;
    match ours {
        Some(ours) if ours.failed + ours.failed_after > 0 => Err("a request was lost".into()),
        Some(ours) if ours.moved_after.is_none_or(|after| after > limit) => {
            Err("traffic was left behind".into())
        }
        _ => Ok(()),
    }
}
