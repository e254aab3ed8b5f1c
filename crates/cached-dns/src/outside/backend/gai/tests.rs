use std::sync::{Condvar, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn localhost_resolves_without_duplicates_or_ports() {
    let answer = Gai::new().call("localhost".parse().unwrap()).await.unwrap();
    let mut addrs = answer.addrs.clone();
    addrs.dedup();
    assert_eq!(addrs, answer.addrs);
    assert!(
        addrs
            .iter()
            .all(|addr| addr.ip().is_loopback() && addr.port() == 0)
    );
    assert_eq!(answer.ttl, None);
}

/// Ends when the second is `true`; the first counts its calls.
static SLOW: (Mutex<(usize, bool)>, Condvar) = (Mutex::new((0, false)), Condvar::new());

#[expect(clippy::unnecessary_wraps, reason = "it stands in for one that fails")]
fn slow(_: &str) -> Found {
    let (state, changed) = &SLOW;
    let mut state = state.lock().unwrap();
    state.0 += 1;
    drop(changed.wait_while(state, |state| !state.1).unwrap());
    Ok(vec![([127, 0, 0, 1], 0).into()])
}

// getaddrinfo answers after the caller has given up.
#[tokio::test]
async fn a_late_getaddrinfo_result_serves_the_next_lookup() {
    let mut gai = Gai {
        resolve: slow,
        ..Gai::new()
    };
    let name = || "a.test".parse().unwrap();
    let first = timeout(Duration::from_millis(50), gai.call(name())).await;
    assert!(first.is_err());
    SLOW.0.lock().unwrap().1 = true;
    SLOW.1.notify_all();
    let answer = gai.call(name()).await.unwrap();
    assert_eq!(answer.addrs.len(), 1);
    assert_eq!(SLOW.0.lock().unwrap().0, 1);
    // Taken once: the next lookup asks anew.
    gai.call(name()).await.unwrap();
    assert_eq!(SLOW.0.lock().unwrap().0, 2);
}

fn unknown(_: &str) -> Found {
    Err(LookupError::new(LookupErrorKind::NotFound { ttl: None }))
}

#[tokio::test]
async fn not_found_ends_with_a_changed_hosts_file() {
    let path = format!("tollgate-gai-hosts-{}", std::process::id());
    let path = std::env::temp_dir().join(path);
    std::fs::write(&path, "127.0.0.1 a.test\n").unwrap();
    let mut gai = Gai {
        resolve: unknown,
        files: Arc::from([Watched::unread(path.clone()).basis()]),
        ..Gai::new()
    };
    let error = gai.call("b.test".parse().unwrap()).await.unwrap_err();
    assert!(!error.is_outdated());
    std::fs::write(&path, "127.0.0.1 a.test b.test\n").unwrap();
    error.look_again();
    let outdated = async {
        while !error.is_outdated() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), outdated).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    // What is asked for now rests on the file as it is.
    let error = gai.call("b.test".parse().unwrap()).await.unwrap_err();
    assert!(!error.is_outdated());
}

#[test]
fn only_an_answer_is_not_found() {
    for kind in [GaiErrorKind::NoName, GaiErrorKind::NoData] {
        assert_eq!(kind_of(kind), LookupErrorKind::NotFound { ttl: None });
    }
    for kind in [
        GaiErrorKind::Again,
        GaiErrorKind::Fail,
        GaiErrorKind::System,
    ] {
        assert_eq!(kind_of(kind), LookupErrorKind::Transient);
    }
}

/// The number of threads that hang, and whether they may go on.
static HANGING: (Mutex<(usize, bool)>, Condvar) = (Mutex::new((0, false)), Condvar::new());

#[expect(clippy::unnecessary_wraps, reason = "it stands in for one that fails")]
fn hang(_: &str) -> Found {
    let (state, changed) = &HANGING;
    let mut state = state.lock().unwrap();
    state.0 += 1;
    drop(changed.wait_while(state, |state| !state.1).unwrap());
    Ok(Vec::new())
}

// Fault 16.
#[tokio::test]
async fn hanging_getaddrinfo_calls_spare_the_blocking_pool() {
    let gai = Gai {
        resolve: hang,
        ..Gai::new()
    };
    let lookups = (0..600).map(|n| {
        let lookup = gai.clone().call(format!("{n}.test").parse().unwrap());
        timeout(Duration::from_millis(100), lookup)
    });
    // Every caller gives up; the threads cannot.
    assert!(join_all(lookups).await.iter().all(Result::is_err));
    let others = tokio::task::spawn_blocking(|| HANGING.0.lock().unwrap().0);
    let hanging = timeout(Duration::from_secs(5), others)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(hanging, MAX_THREADS.get());
    assert_eq!(gai.threads.available_permits(), 0);
    HANGING.0.lock().unwrap().1 = true;
    HANGING.1.notify_all();
    let all = u32::try_from(MAX_THREADS.get()).unwrap();
    let free = gai.threads.acquire_many(all);
    drop(
        timeout(Duration::from_secs(5), free)
            .await
            .unwrap()
            .unwrap(),
    );
}
