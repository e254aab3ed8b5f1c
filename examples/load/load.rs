//! The load: a fixed number of workers, each with one request under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::Uri;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::BoxError;
use crate::client::{Client, Failure};
use crate::tally::Tally;

#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// The URIs of the requests, each in turn.
    pub(crate) uris: Arc<[Uri]>,
    pub(crate) requests: u64,
    pub(crate) concurrency: u16,
    /// The time that each request may take, its queueing included.
    pub(crate) deadline: Duration,
    /// Of each worker, between two requests.
    pub(crate) pause: Duration,
    /// The time at which to stop, however many requests are left.
    pub(crate) lasts: Option<Duration>,
}

impl Load {
    /// Returns the URI of the nth request.
    fn uri(&self, nth: u64) -> Uri {
        let at = usize::try_from(nth % self.uris.len() as u64);
        self.uris[at.expect("it is less than a length")].clone()
    }
}

/// The progress of the load. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    started: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
}

impl Progress {
    /// Takes the next request, if there is one left; the first is 0.
    fn next(&self, requests: u64) -> Option<u64> {
        let nth = self.0.started.fetch_add(1, Relaxed);
        (nth < requests).then_some(nth)
    }

    pub(crate) fn done(&self) -> u64 {
        self.0.done.load(Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.0.failed.load(Relaxed)
    }
}

/// Runs the load to its end.
pub(crate) async fn run<C: Client>(
    client: C,
    load: &Load,
    progress: &Progress,
) -> Result<Tally, BoxError> {
    let begin = Instant::now();
    let workers = u64::from(load.concurrency).min(load.requests);
    let mut all = JoinSet::new();
    for _ in 0..workers {
        all.spawn(work(client.clone(), load.clone(), progress.clone()));
    }
    let mut tally = Tally::default();
    while let Some(part) = all.join_next().await {
        tally.absorb(part?);
    }
    tally.elapsed = begin.elapsed();
    tally.latencies.sort_unstable();
    Ok(tally)
}

async fn work<C: Client>(client: C, load: Load, progress: Progress) -> Tally {
    let mut tally = Tally::default();
    let start = Instant::now();
    let is_over = || load.lasts.is_some_and(|lasts| start.elapsed() >= lasts);
    while !is_over()
        && let Some(nth) = progress.next(load.requests)
    {
        let begin = Instant::now();
        let result = timeout(load.deadline, client.get(load.uri(nth))).await;
        match result.unwrap_or_else(|_| Err(Failure("timeout".into()))) {
            Ok(answer) => {
                let micros = begin.elapsed().as_micros();
                tally.latencies.push(micros.try_into().unwrap_or(u32::MAX));
                tally.longest_wait = tally.longest_wait.max(answer.queued);
            }
            Err(failure) => {
                progress.0.failed.fetch_add(1, Relaxed);
                tally.fail(failure);
            }
        }
        progress.0.done.fetch_add(1, Relaxed);
        if !load.pause.is_zero() {
            sleep(load.pause).await;
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use crate::client::{Answer, Pool};

    use super::*;

    /// Answers in no time, but every fifth request.
    #[derive(Clone, Default)]
    struct Fake(Arc<AtomicU64>);

    impl Client for Fake {
        async fn get(&self, _: Uri) -> Result<Answer, Failure> {
            let nth = self.0.fetch_add(1, Relaxed);
            match nth % 5 {
                0 => Err(Failure("refused".into())),
                _ => Ok(Answer {
                    queued: Duration::from_millis(nth),
                }),
            }
        }

        fn pool(&self) -> Pool {
            Pool::default()
        }
    }

    /// Never answers.
    #[derive(Clone)]
    struct Mute;

    impl Client for Mute {
        async fn get(&self, _: Uri) -> Result<Answer, Failure> {
            std::future::pending().await
        }

        fn pool(&self) -> Pool {
            Pool::default()
        }
    }

    fn load(requests: u64, concurrency: u16) -> Load {
        Load {
            uris: Arc::from([Uri::from_static("http://a/")]),
            requests,
            concurrency,
            deadline: Duration::from_secs(1),
            pause: Duration::ZERO,
            lasts: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_is_sent_once_and_counted_once() {
        let (client, progress) = (Fake::default(), Progress::default());
        let tally = run(client.clone(), &load(100, 7), &progress).await.unwrap();
        assert_eq!(client.0.load(Relaxed), 100);
        assert_eq!((tally.latencies.len(), tally.failed()), (80, 20));
        assert_eq!((progress.done(), progress.failed()), (100, 20));
        assert_eq!(tally.longest_wait, Duration::from_millis(99));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_does_not_hang_the_load() {
        let tally = run(Mute, &load(3, 8), &Progress::default()).await.unwrap();
        assert_eq!(tally.errors, BTreeMap::from([("timeout".to_owned(), 3)]));
        assert_eq!(tally.elapsed, Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn timed_load_pauses_and_stops_at_its_end() {
        let mut load = load(1_000, 2);
        load.pause = Duration::from_millis(100);
        load.lasts = Some(Duration::from_secs(1));
        let progress = Progress::default();
        let tally = run(Fake::default(), &load, &progress).await.unwrap();
        assert_eq!((progress.done(), tally.elapsed), (20, load.lasts.unwrap()));
    }

    /// Answers, and remembers where requests went.
    #[derive(Clone, Default)]
    struct Visited(Arc<Mutex<BTreeMap<String, u64>>>);

    impl Client for Visited {
        async fn get(&self, uri: Uri) -> Result<Answer, Failure> {
            *self.0.lock().unwrap().entry(uri.to_string()).or_default() += 1;
            Ok(Answer::default())
        }

        fn pool(&self) -> Pool {
            Pool::default()
        }
    }

    #[tokio::test]
    async fn places_are_visited_in_turn() {
        let places = ["http://a/", "http://b/", "http://c/"];
        let mut load = load(10, 2);
        load.uris = places.map(Uri::from_static).into();
        let client = Visited::default();
        run(client.clone(), &load, &Progress::default())
            .await
            .unwrap();
        let visited = places.map(str::to_owned).into_iter().zip([4, 3, 3]);
        assert_eq!(*client.0.lock().unwrap(), visited.collect());
    }
}
