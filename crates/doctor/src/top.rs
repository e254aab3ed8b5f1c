//! `tollgate top`: a pool, or a process as the kernel sees it, live.

mod pool;
mod process;
mod screen;

use std::str::FromStr;
use std::time::Duration;

use tollgate_core::{BoxError, Table};

use crate::stats::{Stats, StatsClient};

/// Once a second is what `top` and `watch` do about.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// The subject of [`Top`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopTarget {
    /// The `/stats` of an application: the JSON of `tollgate::Client::snapshot`.
    Stats(String),
    /// A process on this host, by what the kernel knows of its sockets.
    Process(u32),
}

impl FromStr for TopTarget {
    type Err = BoxError;

    /// A number is a process, anything else a URL.
    fn from_str(text: &str) -> Result<Self, BoxError> {
        if let Ok(pid) = text.parse() {
            return Ok(Self::Process(pid));
        }
        let uri: http::Uri = text.parse()?;
        match uri.scheme_str() {
            Some("http" | "https") => Ok(Self::Stats(text.to_owned())),
            _ => Err("neither a process nor a URL of http or https".into()),
        }
    }
}

/// A source of frames: text of a table, with the fullest first.
pub struct Top {
    source: Source,
}

enum Source {
    Stats {
        client: StatsClient,
        url: String,
        last: Option<(tokio::time::Instant, Stats)>,
    },
    Process(u32),
}

impl std::fmt::Debug for Top {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Top").finish_non_exhaustive()
    }
}

impl Top {
    /// Of this target; nothing is read yet.
    ///
    /// # Errors
    ///
    /// If a client for the URL cannot be made.
    pub fn new(target: TopTarget) -> Result<Self, BoxError> {
        let source = match target {
            TopTarget::Stats(url) => Source::Stats {
                client: StatsClient::new(&url)?,
                url,
                last: None,
            },
            TopTarget::Process(pid) => Source::Process(pid),
        };
        Ok(Self { source })
    }

    /// Reads and renders one frame. Rates are of the time since the frame before, and a dash in the
    /// first one.
    ///
    /// # Errors
    ///
    /// If the URL cannot be reached in 5 s or does not answer with such JSON, or the process cannot
    /// be read.
    pub async fn frame(&mut self) -> Result<String, BoxError> {
        match &mut self.source {
            Source::Stats { client, url, last } => {
                let stats = client.get().await?;
                let now = tokio::time::Instant::now();
                let before = last
                    .as_ref()
                    .map(|(at, stats)| (now.duration_since(*at), stats));
                let frame = pool::frame(url, &stats, before);
                *last = Some((now, stats));
                Ok(frame)
            }
            Source::Process(pid) => {
                let pid = *pid;
                // The kernel's table takes milliseconds to read.
                let frame = tokio::task::spawn_blocking(move || process::frame(pid)).await?;
                Ok(frame?)
            }
        }
    }

    /// Shows frames in the terminal's other screen, `every` so often, until ctrl-c. A frame that
    /// fails is shown as its error.
    ///
    /// # Errors
    ///
    /// If the terminal cannot be written to.
    pub async fn live(mut self, every: Duration) -> Result<(), BoxError> {
        screen::live(async || self.frame().await, every).await
    }
}

/// The longest name of a row; the rest is cut.
const LONGEST_NAME: usize = 40;

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new(head).longest_name(LONGEST_NAME);
    for row in rows {
        table.push(row);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_target_parses_pid_or_stats_url() {
        let parse = |text: &str| text.parse::<TopTarget>();
        assert_eq!(parse("4711").unwrap(), TopTarget::Process(4711));
        let url = "http://127.0.0.1:9100/stats";
        assert_eq!(parse(url).unwrap(), TopTarget::Stats(url.into()));
        for neither in ["", "billing", "ftp://billing/stats", "-1"] {
            assert!(parse(neither).is_err(), "{neither}");
        }
    }
}
