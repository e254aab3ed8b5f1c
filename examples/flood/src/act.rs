//! One act: an upstream, a load, and the clients that send it in turn.

use std::io;
use std::time::Duration;

use http::Uri;

use crate::client::{Client, Failure};
use crate::load::{self, Load, Tally};
use crate::time_wait;
use crate::upstream::{Counts, Limits, Upstream};

/// Time for a client's connections to close, and for the upstream to count them.
const SETTLE: Duration = Duration::from_millis(100);

pub(crate) struct Act {
    pub(crate) title: &'static str,
    pub(crate) story: &'static str,
    pub(crate) limits: Limits,
    pub(crate) load: Load,
    pub(crate) columns: &'static [Column],
    /// Each makes a client that sends to this place.
    pub(crate) clients: &'static [fn(&Uri) -> Client],
    /// The sentence at the end, from the rows in the order of the clients.
    pub(crate) seen: fn(&[Row]) -> String,
}

/// The outcome for one client.
pub(crate) struct Row {
    pub(crate) client: &'static str,
    pub(crate) tally: Tally,
    pub(crate) counts: Counts,
    /// Sockets in TIME_WAIT; `None` where the system does not show them.
    pub(crate) time_wait: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Errors,
    Good,
    P50,
    P99,
    Opened,
    TimeWait,
    InVain,
}

impl Act {
    /// Sends the load through one client, to an upstream of its own.
    pub(crate) async fn run(&self, client: fn(&Uri) -> Client) -> io::Result<Row> {
        let upstream = Upstream::start(self.limits)?;
        let uri = format!("http://{}/", upstream.addr());
        let client = client(&uri.parse().map_err(io::Error::other)?);
        let tally = load::run(&client, self.load, &upstream).await;
        let time_wait = time_wait::count(upstream.addr().port());
        let row = Row {
            client: client.name,
            tally,
            counts: upstream.counts(),
            time_wait,
        };
        drop(client);
        tokio::time::sleep(SETTLE).await;
        Ok(row)
    }

    /// The time that all clients take together.
    pub(crate) fn lasts(&self) -> Duration {
        let clients = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        (self.load.lasts + SETTLE) * clients
    }
}

impl Row {
    pub(crate) fn rate(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is positive and small"
        )]
        let rate = self.tally.rate().round() as u64;
        rate
    }

    pub(crate) fn failed_with(&self, failure: Failure) -> u64 {
        self.tally.failures.get(&failure).copied().unwrap_or(0)
    }

    /// Requests that the upstream worked on though no caller waited for the answer any more.
    fn in_vain(&self) -> u64 {
        self.counts.worked.saturating_sub(self.tally.good())
    }

    pub(crate) fn cell(&self, column: Column) -> String {
        let time = |share| self.tally.percentile(share).map_or_else(none, millis);
        match column {
            Column::Errors => thousands(self.tally.failed()),
            Column::Good => thousands(self.rate()),
            Column::P50 => time(50),
            Column::P99 => time(99),
            Column::Opened => thousands(self.counts.accepted),
            Column::TimeWait => self.time_wait.map_or_else(none, |n| thousands(n as u64)),
            Column::InVain => thousands(self.in_vain()),
        }
    }
}

impl Column {
    pub(crate) const fn head(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Good => "good/s",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Opened => "opened",
            Self::TimeWait => "TIME_WAIT",
            Self::InVain => "in vain",
        }
    }
}

fn none() -> String {
    "-".to_owned()
}

fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

/// With a comma between thousands.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_between_thousands() {
        let all = [0, 64, 999, 1_000, 10_771, 1_234_567].map(thousands);
        assert_eq!(all, ["0", "64", "999", "1,000", "10,771", "1,234,567"]);
    }
}
