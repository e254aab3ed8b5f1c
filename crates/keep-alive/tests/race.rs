//! Requests that race the server's close.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use support::{Dice, assert_at_rest, cap, fetch, post, read};
use tollgate_core::CloseReason;
use tollgate_keep_alive::{KeepAlive, KeepAliveErrorKind};
use tollgate_testing::{Connector, Upstream, eventually};
use tower::Layer;

const CALLERS: u64 = 500;
const EACH: u64 = 20;

/// What was written of requests: each head goes out in one piece.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<HashMap<String, usize>>>);

impl Written {
    fn note(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if let Some(path) = text
            .strip_prefix("POST ")
            .and_then(|rest| rest.split(' ').next())
        {
            *self.0.lock().unwrap().entry(path.to_owned()).or_default() += 1;
        }
    }
}

/// GETs and POSTs in turn, each 200 ms after the one before, give or take 10. Returns the paths of the
/// POSTs that failed.
async fn call_around_the_timeout(pool: KeepAlive, uri: http::Uri, caller: u64) -> Vec<String> {
    let mut dice = Dice(caller);
    let mut failed = Vec::new();
    for n in 0..EACH {
        tokio::time::sleep(Duration::from_millis(190 + dice.roll(20))).await;
        if n % 2 == 0 {
            assert_eq!(fetch(&pool, &uri).await.unwrap(), "ok");
            continue;
        }
        let post_uri: http::Uri = format!("{uri}-{n}").parse().unwrap();
        match post(&pool, &post_uri, "x").await {
            Ok(response) => assert_eq!(read(response).await.unwrap(), "ok"),
            Err(error) => {
                assert_eq!(error.kind(), KeepAliveErrorKind::ClosedAfterSent);
                assert!(!error.nothing_sent());
                let text = error.to_string();
                assert!(text.contains("may have acted on it"), "{text}");
                failed.push(post_uri.path().to_owned());
            }
        }
    }
    failed
}

/// The server closes connections that idle for 200 ms; requests arrive at random around then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_the_servers_idle_timeout_loses_no_get() {
    let upstream = Upstream::builder()
        .backlog(4096)
        .idle_timeout(Duration::from_millis(200))
        .start()
        .await;
    let written = Written::default();
    let tapped = written.clone();
    let connector = Connector::tcp(upstream.addr()).tap(move |bytes| tapped.note(bytes));
    let pool = cap(600).layer(connector);
    let callers = (0..CALLERS).map(|caller| {
        let uri = upstream.uri(&format!("/{caller}"));
        tokio::spawn(call_around_the_timeout(pool.clone(), uri, caller))
    });
    let failed = join_all(callers.collect::<Vec<_>>()).await;
    let failed: HashSet<String> = failed.into_iter().flat_map(Result::unwrap).collect();

    let mut arrived: HashMap<String, usize> = HashMap::new();
    for request in upstream.requests() {
        if request.method == "POST" {
            *arrived.entry(request.target).or_default() += 1;
        }
    }
    assert!(
        arrived.values().all(|&times| times == 1),
        "no POST arrives twice"
    );
    let written = written.0.lock().unwrap().clone();
    assert!(
        written.values().all(|&times| times == 1),
        "nor is one written twice"
    );
    for path in &failed {
        assert!(
            written.contains_key(path),
            "{path} failed without being written"
        );
    }
    let answered = arrived
        .keys()
        .filter(|path| !failed.contains(*path))
        .count();
    assert_eq!((answered + failed.len()) as u64, CALLERS * EACH / 2);

    let origin = upstream.uri("/").to_string().parse().unwrap();
    let stats = || pool.stats(&origin).unwrap();
    eventually(|| stats().in_flight == 0).await;
    assert!(
        stats().closed_for(CloseReason::PeerEof) > 100,
        "the race was run"
    );
    assert_at_rest(&stats());
}
