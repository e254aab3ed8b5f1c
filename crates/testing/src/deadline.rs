//! Deadlines for everything a test waits for.

use std::fmt;
use std::panic::Location;
use std::pin::pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::oneshot;

/// The time that the helpers of this crate wait before they call the test failed.
///
/// Generous, since it only passes in a test that fails: a loaded machine must not fail one.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Awaits `work`, for at most `limit` of tokio's time.
///
/// Under a paused clock that is virtual time: work that has stopped moving fails at once, and work
/// that waits for a socket may too (see [`hold_clock`]).
///
/// # Panics
///
/// When the time is over: names the limit and the line that waited.
#[track_caller]
pub fn within<F: Future>(limit: Duration, work: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        let Ok(output) = tokio::time::timeout(limit, work).await else {
            panic!("not done within {limit:?}, waited for at {caller}");
        };
        output
    }
}

/// Waits until `holds`, which is asked after every turn of the runtime: for state that no task
/// announces, such as a pool's numbers. What does announce itself has a `settled`.
///
/// The runtime is never idle meanwhile, so a paused clock stands still.
///
/// # Panics
///
/// After [`DEADLINE`] of real time: names the line that waited.
#[track_caller]
pub fn eventually(mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let reached = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        let in_time = within_real(DEADLINE, reached).await;
        assert!(
            in_time.is_some(),
            "not so within {DEADLINE:?}, waited for at {caller}"
        );
    }
}

/// Keeps a paused clock from running ahead until the guard is dropped.
///
/// tokio moves a paused clock to the next timer as soon as no task can run, and a task that waits
/// for a socket cannot. With this guard the clock moves only through `tokio::time::advance`.
/// Without a paused clock it does nothing.
///
/// # Panics
///
/// Outside a tokio runtime.
#[must_use = "the clock is free again when the guard is dropped"]
pub fn hold_clock() -> StillClock {
    let (release, released) = mpsc::channel();
    // A running blocking task is what inhibits the clock; it ends when the guard drops its sender.
    drop(tokio::task::spawn_blocking(move || {
        // With an end, since a runtime waits for its blocking tasks: a guard that is leaked must
        // not hang the test.
        released.recv_timeout(DEADLINE * 6)
    }));
    StillClock { _release: release }
}

/// Keeps a paused clock still while it lives; made by [`hold_clock`].
pub struct StillClock {
    _release: mpsc::Sender<()>,
}

impl fmt::Debug for StillClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StillClock")
    }
}

/// Awaits `work` for at most `limit` of real time, whatever tokio's clock does meanwhile.
pub(crate) async fn within_real<F: Future>(limit: Duration, work: F) -> Option<F::Output> {
    let (_release, released) = mpsc::channel::<()>();
    let (ring, over) = oneshot::channel();
    // A thread of its own: a timer of tokio's would be paused, a blocking task would hold the clock.
    thread::spawn(move || {
        if released.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            // The work may have ended in this very moment, without a listener.
            let _ = ring.send(());
        } else {
            drop(ring);
        }
    });
    match select(pin!(work), over).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_in_time_gives_its_output() {
        let slow = async {
            sleep(Duration::from_millis(999)).await;
            7
        };
        assert_eq!(within(Duration::from_secs(1), slow).await, 7);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "not done within 1s, waited for at")]
    async fn unending_work_panics_and_names_its_place() {
        within(Duration::from_secs(1), pending::<()>()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn eventually_waits_without_moving_paused_clock() {
        let start = Instant::now();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::spawn(TcpStream::connect(listener.local_addr().unwrap()));
        eventually(|| client.is_finished()).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn held_clock_stands_still_during_socket_waits() {
        let clock = hold_clock();
        let start = Instant::now();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let timer = tokio::spawn(sleep(Duration::from_millis(1)));
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(b"x").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'x');
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(!timer.is_finished());

        drop(clock);
        within(Duration::from_secs(1), timer).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn paused_clock_advances_under_a_real_deadline() {
        let hour = sleep(Duration::from_secs(3600));
        assert_eq!(within_real(DEADLINE, hour).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn real_deadlines_pass_although_the_clock_is_paused() {
        let start = Instant::now();
        let outcome = within_real(Duration::from_millis(5), pending::<()>()).await;
        assert_eq!(outcome, None);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
