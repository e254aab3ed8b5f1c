//! What is recommended from the load that an origin had.

mod common;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

use common::{Recorder, Tell, ms, origin};
use tokio::time::advance;
use tollgate_core::{Event, Observer};
use tollgate_queue_metrics::{Advice, PoolMetrics, Verdict};

const BILLING: &str = "https://billing.test";

/// A pool of `limit` connections, each request served for 100 ms.
struct Pool<'a> {
    tell: Tell<'a, PoolMetrics>,
    limit: usize,
    /// When the exchanges under way end, and how long ago those who wait came, in milliseconds.
    serving: VecDeque<u64>,
    waiting: VecDeque<u64>,
    now: u64,
}

impl<'a> Pool<'a> {
    fn new(metrics: &'a PoolMetrics, limit: usize) -> Self {
        let tell = Tell {
            observer: metrics,
            origin: origin(BILLING),
        };
        metrics.set_limit(&tell.origin, limit);
        Self {
            tell,
            limit,
            serving: VecDeque::new(),
            waiting: VecDeque::new(),
            now: 0,
        }
    }

    fn arrive(&mut self) {
        if self.serving.len() < self.limit {
            self.tell.granted(Duration::ZERO, true);
            self.serving.push_back(self.now + 100);
        } else {
            self.tell.queued(self.waiting.len());
            self.waiting.push_back(self.now);
        }
    }

    /// A second: `in_one` requests at once, every so many milliseconds.
    async fn second(&mut self, every: u64, in_one: usize) {
        for _ in 0..1_000 {
            self.now += 1;
            while self.serving.front() == Some(&self.now) {
                self.serving.pop_front();
                self.tell.released(ms(100));
                if let Some(since) = self.waiting.pop_front() {
                    self.tell.granted(ms(self.now - since), true);
                    self.serving.push_back(self.now + 100);
                }
            }
            if self.now.is_multiple_of(every) {
                (0..in_one).for_each(|_| self.arrive());
            }
        }
        advance(Duration::from_secs(1)).await;
    }
}

/// Half a minute of `in_one` requests at once, every so many milliseconds, through `limit`
/// connections.
async fn half_a_minute(limit: usize, every: u64, in_one: usize) -> Option<Advice> {
    let metrics = PoolMetrics::new();
    let mut pool = Pool::new(&metrics, limit);
    assert_eq!(metrics.advise(&origin(BILLING)), None, "there is no before");
    for _ in 0..30 {
        pool.second(every, in_one).await;
    }
    metrics.advise(&origin(BILLING))
}

#[tokio::test(start_paused = true)]
async fn regular_load_gets_erlang_count_bursts_get_more() {
    // 200 a second for 100 ms each.
    let regular = half_a_minute(128, 5, 1).await.unwrap();
    assert_eq!(
        (regular.connections, regular.verdict),
        (32, Verdict::Enough)
    );
    assert!((regular.offered_load - 20.0).abs() < 0.2, "{regular:?}");
    let bursts = half_a_minute(128, 500, 100).await.unwrap();
    assert!(bursts.burstiness > 1.0, "{bursts:?}");
    assert!(bursts.connections > regular.connections, "{bursts:?}");
}

#[tokio::test(start_paused = true)]
async fn advice_is_unchanged_by_a_tight_limit() {
    // 200 a second for 100 ms each, through half as many connections as that needs on average, a
    // few more, and just enough for it if nobody came at the same time as another.
    for limit in [10, 16, 20] {
        let advice = half_a_minute(limit, 5, 1).await.unwrap();
        let said = (advice.connections, advice.verdict);
        assert_eq!(said, (32, Verdict::Raise), "{limit}: {advice:?}");
        assert!((advice.offered_load - 20.0).abs() < 0.2, "{advice:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_upstream_gives_no_advice() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin(BILLING),
    };
    assert_eq!(metrics.advise(&tell.origin), None);
    for second in 0..30 {
        for nth in 0..100 {
            if second * 100 + nth < 8 {
                tell.granted(Duration::ZERO, false);
            } else {
                tell.queued(0);
            }
        }
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(metrics.advise(&tell.origin), None);
}

#[tokio::test(start_paused = true)]
async fn long_stream_counts_only_for_observed_minutes() {
    let metrics = PoolMetrics::new();
    let mut pool = Pool::new(&metrics, 128);
    assert_eq!(metrics.advise(&pool.tell.origin), None);
    for second in 0..300 {
        pool.second(5, 1).await;
        if second == 150 {
            pool.tell.granted(Duration::ZERO, true);
            pool.tell.released(Duration::from_secs(10 * 3_600));
        }
    }
    let advice = metrics.advise(&pool.tell.origin).unwrap();
    assert!((advice.offered_load - 21.0).abs() < 0.2, "{advice:?}");
}

#[test]
fn to_ask_for_advice_makes_no_series() {
    let metrics = PoolMetrics::new();
    assert_eq!(metrics.advise(&origin("http://mistyped.test")), None);
    assert!(metrics.snapshot().origins.is_empty());
}

#[tokio::test(start_paused = true)]
async fn few_requests_or_overflowed_origins_get_no_advice() {
    assert_eq!(half_a_minute(128, 100, 1).await, None, "300 requests");
    let metrics = PoolMetrics::new().max_origins(NonZeroUsize::MIN);
    let mut pool = Pool::new(&metrics, 8);
    metrics.on_event(&Event::Queued {
        origin: &origin("http://beyond.test"),
        ahead: 0,
    });
    assert_eq!(metrics.advise(&origin("http://beyond.test")), None);
    for _ in 0..11 {
        pool.second(5, 1).await;
    }
    assert_eq!(metrics.advise(&origin("http://beyond.test")), None);
}

#[tokio::test(start_paused = true)]
async fn advice_is_reported_only_on_request() {
    let recommended = async |metrics: PoolMetrics| {
        let mut pool = Pool::new(&metrics, 128);
        let recorder = Recorder::new();
        let said = || {
            recorder.run(|| metrics.report());
            let series = recorder.series();
            let mut found = series.keys().filter(|name| name.contains("recommended"));
            found.next().map(|name| series[name].to_string())
        };
        let before = said();
        for second in 1..=30 {
            pool.second(5, 1).await;
            if second % 10 == 0 {
                said();
            }
        }
        let under_load = said();
        for _ in 0..40 {
            advance(Duration::from_secs(10)).await;
            said();
        }
        [before, under_load, said()]
    };
    assert_eq!(recommended(PoolMetrics::new()).await, [None, None, None]);
    let opted_in = PoolMetrics::new().with_recommendation();
    let told = ["32", "0"].map(|told| Some(told.to_owned()));
    assert_eq!(
        recommended(opted_in).await,
        [[None].as_slice(), &told].concat()[..]
    );
}
