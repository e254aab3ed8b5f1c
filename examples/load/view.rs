//! What is shown while the load runs, on standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::client::Pool;
use crate::load::Progress;

/// On a terminal the line is painted over.
const REPAINT: Duration = Duration::from_millis(100);

/// Elsewhere each line stays.
const APPEND: Duration = Duration::from_millis(250);

pub(crate) struct View {
    terminal: bool,
}

impl View {
    pub(crate) fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
        }
    }

    /// Writes one line that stays.
    pub(crate) fn line(text: &str) {
        Self::write(format_args!("{text}\n"));
    }

    /// Awaits `work`, and shows how it goes meanwhile.
    pub(crate) async fn during<T>(
        &mut self,
        client: &str,
        requests: u64,
        progress: &Progress,
        pool: impl Fn() -> Pool,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut ticks = interval(if self.terminal { REPAINT } else { APPEND });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is now, when there is nothing to show.
        ticks.tick().await;
        loop {
            tokio::select! {
                result = &mut work => {
                    self.show(client, requests, progress, pool());
                    if self.terminal {
                        Self::line("");
                    }
                    return result;
                }
                _ = ticks.tick() => self.show(client, requests, progress, pool()),
            }
        }
    }

    fn show(&mut self, client: &str, requests: u64, progress: &Progress, pool: Pool) {
        let (done, failed) = (progress.done(), progress.failed());
        let line = format!("{client:<22} {done:>8}/{requests} failed {failed}  {pool}");
        if self.terminal {
            Self::write(format_args!("\r{line}\x1b[K"));
        } else {
            Self::line(&line);
        }
    }

    fn write(text: fmt::Arguments<'_>) {
        // Whoever closed stderr does not want to see it.
        drop(
            io::stderr()
                .write_fmt(text)
                .and_then(|()| io::stderr().flush()),
        );
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |n: Option<usize>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        write!(
            f,
            "open {:>4}  idle {:>4}  connecting {:>4}  queued {:>4}  active {:>4}",
            self.open,
            known(self.idle),
            self.connecting,
            known(self.queued),
            known(self.active),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_tells_is_a_question_mark() {
        let pool = Pool {
            open: 12,
            idle: Some(2),
            ..Pool::default()
        };
        assert_eq!(
            pool.to_string(),
            "open   12  idle    2  connecting    0  queued    ?  active    ?"
        );
    }
}
