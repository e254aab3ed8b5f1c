//! The report that runs by itself.
#![expect(clippy::float_cmp, reason = "whole numbers, which arrive as they are")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Recorder, Tell, ms, one_of_everything, origin};
use tokio::time::advance;
use tollgate_queue_metrics::{
    PoolMetrics, QueueMetricsLayer, REPORT_EVERY, Reporter, spawn_report,
};

const QUEUED: &str =
    r#"http_client_queued_requests{server_address="billing.test",server_port="443"}"#;
const WAITS: &str = r#"http_client_request_time_in_queue_seconds_count{server_address="billing.test",server_port="443"}"#;

/// A runtime whose clock stands still, on this thread: the recorder is this thread's.
fn paused<F: Future>(recorder: &Recorder, run: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    recorder.run(|| runtime.block_on(run))
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn report_runs_at_once_then_every_interval() {
    let recorder = Recorder::new();
    let metrics = Arc::new(PoolMetrics::new());
    paused(&recorder, async {
        let tell = Tell {
            observer: &*metrics,
            origin: origin("https://billing.test"),
        };
        tell.queued(0);
        let _reporter = spawn_report(Arc::clone(&metrics), REPORT_EVERY);
        settle().await;
        assert_eq!(recorder.series()[QUEUED], 1.0);
        tell.queued(1);
        advance(ms(9_999)).await;
        settle().await;
        assert_eq!(recorder.series()[QUEUED], 0.0, "nothing written since");
        advance(ms(1)).await;
        settle().await;
        assert_eq!(recorder.series()[QUEUED], 2.0);
    });
}

#[test]
fn histogram_samples_are_handed_over_in_slices() {
    let recorder = Recorder::new();
    let metrics = Arc::new(PoolMetrics::new());
    paused(&recorder, async {
        let tell = Tell {
            observer: &*metrics,
            origin: origin("https://billing.test"),
        };
        for _ in 0..35_000 {
            tell.granted(Duration::ZERO, true);
        }
        let _reporter = spawn_report(Arc::clone(&metrics), REPORT_EVERY);
        tokio::task::yield_now().await;
        assert_eq!(recorder.series()[WAITS], 10_000.0, "others have their turn");
        settle().await;
        assert_eq!(recorder.series()[WAITS], 25_000.0, "the rest since then");
    });
}

#[test]
fn drop_stops_the_reporter_stop_reports_once_more() {
    let recorder = Recorder::new();
    let metrics = Arc::new(PoolMetrics::new());
    paused(&recorder, async {
        let reporter = spawn_report(Arc::clone(&metrics), REPORT_EVERY);
        settle().await;
        one_of_everything(&*metrics);
        drop(reporter);
        advance(REPORT_EVERY * 3).await;
        settle().await;
        assert!(!recorder.series().contains_key(QUEUED));
        let reporter = spawn_report(Arc::clone(&metrics), REPORT_EVERY);
        reporter.stop();
        assert_eq!(recorder.series()[QUEUED], 0.0);
    });
}

#[test]
fn detached_reporter_goes_on_with_several_sources() {
    let recorder = Recorder::new();
    paused(&recorder, async {
        let metrics = Arc::new(PoolMetrics::new());
        let layer = QueueMetricsLayer::new("billing");
        spawn_report((Arc::clone(&metrics), layer), Duration::ZERO).detach();
        one_of_everything(&*metrics);
        advance(ms(2)).await;
        settle().await;
        let series = recorder.series();
        assert_eq!(series[QUEUED], 0.0);
        assert_eq!(
            series[r#"tower_service_active_requests{service="billing"}"#],
            0.0
        );
    });
}

#[test]
fn a_reporter_can_be_kept_anywhere() {
    fn is<T: Send + Sync + std::fmt::Debug + 'static>() {}
    is::<Reporter>();
    is::<PoolMetrics>();
}
