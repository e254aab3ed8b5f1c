//! The terminal: frames in its other screen, by control sequences of ECMA-48 and nothing else.

use std::io::{Write, stdout};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tollgate_core::BoxError;

/// The other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left; each line clears what the last frame had behind it, the end what was below.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K\r\n";
const BELOW: &str = "\x1b[J";

/// Gives the screen back, however it ends.
struct OtherScreen;

impl Drop for OtherScreen {
    fn drop(&mut self) {
        drop(stdout().write_all(LEAVE.as_bytes()));
        drop(stdout().flush());
    }
}

pub(super) async fn live(
    mut frame: impl AsyncFnMut() -> Result<String, BoxError>,
    every: Duration,
) -> Result<(), BoxError> {
    let mut ticks = interval(every.max(Duration::from_millis(100)));
    // A source that is slow is not asked twice in a row.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stdout().write_all(ENTER.as_bytes())?;
    // From here on the screen is given back, also after an error or a panic.
    let _screen = OtherScreen;
    let show = async {
        loop {
            ticks.tick().await;
            let text = frame().await.unwrap_or_else(|error| format!("{error}\n"));
            stdout().write_all(painted(&text).as_bytes())?;
            stdout().flush()?;
        }
    };
    tokio::select! {
        done = show => done,
        stop = tokio::signal::ctrl_c() => Ok(stop?),
    }
}

fn painted(frame: &str) -> String {
    let lines = frame.lines().map(|line| format!("{line}{END_OF_LINE}"));
    format!(
        "{HOME}{}ctrl-c ends{END_OF_LINE}{BELOW}",
        lines.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_overwrites_the_one_before_it() {
        let painted = painted("a\nb\n");
        assert!(painted.starts_with("\x1b[Ha\x1b[K\r\nb\x1b[K\r\n"));
        assert!(painted.ends_with("\x1b[J"));
    }
}
