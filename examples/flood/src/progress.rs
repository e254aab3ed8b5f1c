//! The progress bar, on standard error, and the text above it, on standard output.

use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use crate::act::Act;

const REPAINT: Duration = Duration::from_millis(100);

/// A bar over the time that all acts take; invisible where standard error is no terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(lasts: Duration) -> Self {
        let bar = ProgressBar::new(lasts.as_millis().try_into().unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template("{msg:44!} [{bar:24}] {elapsed:>3}");
        bar.set_style(style.expect("the template is sound").progress_chars("=> "));
        Self(bar)
    }

    /// Awaits one client's load, and moves the bar meanwhile.
    pub(crate) async fn during<T>(&self, act: &Act, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut ticks = interval(REPAINT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.0.set_message(act.title);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => {
                    let elapsed = self.0.elapsed().as_millis();
                    self.0.set_position(elapsed.try_into().unwrap_or(u64::MAX));
                }
            }
        }
    }

    /// Writes lines that stay.
    pub(crate) fn print(&self, text: &str) -> io::Result<()> {
        self.0.suspend(|| writeln!(io::stdout(), "{text}"))
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
