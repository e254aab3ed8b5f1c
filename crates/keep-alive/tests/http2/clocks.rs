//! The connect budget, on a clock that stands still.

use tokio::time::Instant;
use tollgate_core::{ConnectTimedOut, Phase, error::find};
use tollgate_keep_alive::KeepAliveErrorKind;
use tollgate_testing::io::Plan;
use tollgate_testing::{Reply, Upstream};

use super::*;

/// A budget that began anew for the preface would end later, one that ended with the connector's part
/// not at all.
#[tokio::test(start_paused = true)]
async fn the_preface_has_the_rest_of_connect_timeout() {
    const LIMIT: Duration = Duration::from_millis(136);
    for part in [0, 100, 135].map(Duration::from_millis) {
        let silent = Upstream::builder().on_accept(|_| Reply::never());
        let upstream = silent.start().await;
        let connector = Connector::memory(&upstream)
            .script(move |_| Plan::connect().after(part))
            .connected(|| Connected::new().negotiated_h2());
        let pool = cap(4).connect_timeout(LIMIT).layer(connector.clone());
        let since = Instant::now();
        let error = support::get(&pool, &upstream.uri("/")).await.unwrap_err();
        assert_eq!(since.elapsed(), LIMIT, "with {part:?} in the connector");
        assert_eq!(error.kind(), KeepAliveErrorKind::Connect);
        let late = find::<ConnectTimedOut>(&error).unwrap();
        assert_eq!((late.phase(), late.elapsed()), (Phase::Preface, LIMIT));
        assert_eq!(late.total(), LIMIT);
        until(|| connector.stats().live == 0).await;
    }
}
