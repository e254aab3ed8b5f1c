//! Pings: none that a server with gRPC's enforcement minds, and a dead path is found all the same.

use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, timeout};
use tollgate_core::CloseReason;
use tollgate_keep_alive::KeepAliveErrorKind;
use tower::ServiceExt;

use super::memory::Still;
use super::*;

const SEC: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn ages() -> KeepAliveLayer {
    let never = Duration::from_secs(24 * 60 * 60);
    cap(8).max_lifetime(never).idle_timeout(never)
}

/// Waits until something holds, for as long as that takes on a clock that stands still.
async fn at_last(holds: impl Fn() -> bool) {
    while !holds() {
        sleep(SEC / 100).await;
    }
}

/// A call whose head has come.
async fn open_call(still: &Still) -> http::Response<tollgate_keep_alive::KeepAliveBody> {
    let (pool, uri) = (still.pool.clone(), still.uri.clone());
    let call = tokio::spawn(async move { pool.oneshot(support::request("GET", &uri)).await });
    until(|| still.peer.open().iter().sum::<usize>() == 1).await;
    still.peer.answer_heads();
    call.await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stream_silent_for_hours_is_never_pinged() {
    let still = Still::new(&ages());
    still.peer.be_calm();
    let mut stream = open_call(&still).await;
    for _ in 0..6 {
        sleep(HOUR).await;
        still.peer.send_data(0, b"x");
        let frame = stream.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "x");
    }
    assert_eq!(still.peer.pings(0), []);
    drop(stream);
    sleep(HOUR).await;
    assert_eq!(still.peer.pings(0), [], "nor while it idles");
}

/// The head comes with the first message, which may be hours away.
#[tokio::test(start_paused = true)]
async fn an_unanswered_stream_is_pinged_within_grpcs_enforcement() {
    let still = Still::new(&ages());
    still.peer.be_calm();
    let (pool, uri) = (still.pool.clone(), still.uri.clone());
    let call = tokio::spawn(async move { pool.oneshot(support::request("GET", &uri)).await });
    sleep(6 * HOUR).await;
    still.peer.answer_all();
    let body = call.await.unwrap().unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
    let pings = still.peer.pings(0).len();
    assert!((60..=75).contains(&pings), "{pings}: one each 5 minutes");
    assert_eq!(still.peer.accepted(), 1);
}

/// A call that waits for ever.
fn patient(still: &Still) -> JoinHandle<Result<Bytes, BoxError>> {
    let (pool, uri) = (still.pool.clone(), still.uri.clone());
    tokio::spawn(async move {
        let response = pool.oneshot(support::request("GET", &uri)).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    })
}

#[tokio::test(start_paused = true)]
async fn two_unanswered_streams_share_one_pace_of_pings() {
    let still = Still::new(&ages());
    still.peer.be_calm();
    let first = patient(&still);
    sleep(7 * SEC).await;
    let second = patient(&still);
    sleep(6 * HOUR).await;
    assert_eq!(still.peer.answer_all(), 2);
    all_ok(vec![first, second]).await;
    let pings = still.peer.pings(0).len();
    assert!((60..=75).contains(&pings), "{pings}: one each 5 minutes");
    assert_eq!(still.peer.accepted(), 1);
}

/// What comes on one stream says that the path lives, and sets off no pings for the other.
#[tokio::test(start_paused = true)]
async fn pings_beside_a_busy_stream_respect_grpc_enforcement() {
    let still = Still::new(&ages());
    still.peer.be_calm();
    let mut busy = open_call(&still).await;
    let silent = patient(&still);
    for minute in 0..120_u32 {
        // Bursts, and pauses that are longer than what sets a ping off.
        sleep(SEC * (1 + minute % 60)).await;
        still.peer.send_data(0, b"x");
        assert!(busy.frame().await.unwrap().is_ok());
    }
    drop(busy);
    sleep(SEC).await;
    still.peer.answer_all();
    all_ok(vec![silent]).await;
    assert_eq!(still.peer.accepted(), 1);
}

#[tokio::test(start_paused = true)]
async fn ping_interval_finds_dead_paths_in_time() {
    let options = Http2Options::new()
        .ping_interval(Some(30 * SEC))
        .ping_timeout(10 * SEC);
    for idle in [false, true] {
        let still = Still::new(&ages().http2(options));
        let stream = open_call(&still).await;
        let stream = (!idle).then_some(stream);
        still.peer.fall_silent();
        let since = Instant::now();
        if let Some(stream) = stream {
            assert!(stream.into_body().collect().await.is_err());
        } else {
            at_last(|| still.stats().open == 0).await;
        }
        let took = since.elapsed();
        let late = took.saturating_sub(40 * SEC);
        assert!(took >= 40 * SEC && late <= SEC / 10, "{took:?}");
        until(|| still.stats().closed_for(CloseReason::Error) == 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_path_fails_requests_in_fifteen_seconds() {
    let still = Still::new(&ages());
    still.peer.answer_at_once();
    fetch(&still.pool, &still.uri).await.unwrap();
    still.peer.fall_silent();
    let since = Instant::now();
    let lost = support::post(&still.pool, &still.uri, "x").await;
    let lost = lost.unwrap_err();
    assert_eq!(lost.kind(), KeepAliveErrorKind::ClosedAfterSent);
    let text = format!("{:?}", tollgate_core::error::chain(&lost).last());
    assert!(text.contains("did not answer a ping"), "{text}");
    assert!(since.elapsed() <= 16 * SEC, "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn too_many_pings_double_the_origins_interval() {
    let options = Http2Options::new().ping_interval(Some(60 * SEC));
    let still = Still::new(&ages().http2(options));
    still.peer.be_calm();
    for (connection, interval) in [(0, 60), (1, 120), (2, 240)] {
        let stream = open_call(&still).await;
        let origin = still.uri.to_string().parse().unwrap();
        let shown = still.pool.detail(&origin).unwrap().connections[0].ping_interval;
        assert_eq!(shown, Some(interval * SEC), "shown as it is in force");
        assert!(stream.into_body().collect().await.is_err(), "it is ended");
        let pings = still.peer.pings(connection);
        let apart = pings.windows(2).map(|two| two[1] - two[0]);
        assert!(
            apart.clone().all(|apart| apart == interval * SEC),
            "{connection}: {:?}",
            apart.collect::<Vec<_>>()
        );
        until(|| still.stats().open == 0).await;
    }
    // Eight minutes apart is what the server allows.
    let stream = open_call(&still).await;
    assert!(timeout(HOUR, stream.into_body().collect()).await.is_err());
    assert!(still.peer.pings(3).len() >= 6);
}

/// 30 s and 27 calls of a second each were what it took.
#[tokio::test(start_paused = true)]
async fn a_dead_path_costs_at_most_two_calls() {
    for cap in [1, 4] {
        let n = NonZeroUsize::new(cap).unwrap();
        let options = Http2Options::new().max_http2_connections(n);
        let still = Still::new(&ages().http2(options));
        still.peer.answer_at_once();
        fetch(&still.pool, &still.uri).await.unwrap();
        still.peer.fall_silent_on(0);
        let since = Instant::now();
        let mut lost = 0;
        while timeout(SEC, fetch(&still.pool, &still.uri)).await.is_err() {
            lost += 1;
        }
        assert!(lost <= 2 && since.elapsed() <= 3 * SEC, "{lost}, cap {cap}");
        assert_eq!(still.peer.accepted(), 2);
        at_last(|| still.stats().open == 1).await;
        assert!(since.elapsed() <= 12 * SEC, "{:?}", since.elapsed());
    }
}

/// It answers pings, as far as it may be asked, and after half a minute of silence the doubt wins.
#[tokio::test(start_paused = true)]
async fn a_mute_peer_gets_few_dials_and_pings() {
    let still = Still::new(&ages());
    still.peer.be_calm();
    for _ in 0..200 {
        let call = support::request("GET", &still.uri);
        let call = still.pool.clone().oneshot(call);
        assert!(timeout(SEC, call).await.is_err());
        sleep(SEC / 100).await;
    }
    let dials = still.peer.accepted();
    assert!((2..=8).contains(&dials), "{dials}");
    assert!((0..dials).all(|one| still.peer.pings(one).len() <= 2));
}

/// Servers log it otherwise.
#[tokio::test(start_paused = true)]
async fn a_connection_closed_by_the_pool_sends_goaway() {
    let still = Still::new(&cap(8).idle_timeout(SEC));
    still.peer.answer_at_once();
    fetch(&still.pool, &still.uri).await.unwrap();
    at_last(|| still.stats().open == 0).await;
    at_last(|| still.peer.was_told_goodbye(0)).await;
}
