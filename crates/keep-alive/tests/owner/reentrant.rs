//! Foreign code that comes back into the pool: an observer that touches it at each event, a waker that
//! polls its task at once.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use http::Uri;
use tokio::time::{sleep, timeout};
use tollgate_core::{Event, Observer, Origin};
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer, Protocol};
use tollgate_testing::http2::Http2Reply;
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Http2Upstream, Reply, Upstream};
use tower::{Layer, Service};

use super::support::{cap, fetch, request};

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static TURNS: Cell<usize> = const { Cell::new(0) };
}

/// So many events are answered, or the last would never come: each answer has events of its own.
const MOST: usize = 4_000;

#[derive(Default)]
struct Meddler(OnceLock<KeepAlive>);

impl Observer for Meddler {
    fn on_event(&self, _: &Event<'_>) {
        let turn = TURNS.get();
        let Some(pool) = self.0.get().filter(|_| DEPTH.get() < 3 && turn < MOST) else {
            return;
        };
        TURNS.set(turn + 1);
        DEPTH.set(DEPTH.get() + 1);
        for stats in pool.snapshot().origins {
            drop(pool.detail(&stats.origin));
        }
        let uri = of(turn);
        let origin: Origin = uri.to_string().parse().unwrap();
        match turn % 5 {
            0 => pool.close_idle(),
            1 => drop(pool.clone().call(request("GET", &uri))),
            2 => pool.warm(&origin, 2).unwrap(),
            3 => pool
                .set_max_connections(&origin, super::n(1 + turn % 3))
                .unwrap(),
            _ => assert_eq!(pool.retire_some(origin.host(), &[], 1), 0),
        }
        DEPTH.set(DEPTH.get() - 1);
    }
}

fn of(number: usize) -> Uri {
    format!("http://{}.test/", number % 4).parse().unwrap()
}

/// Over HTTP/1 and HTTP/2, with and without a total cap.
fn layers() -> [(KeepAliveLayer, bool); 4] {
    let total = || cap(2).max_connections_total(super::n(2));
    [
        (cap(2), false),
        (total(), false),
        (cap(2), true),
        (total(), true),
    ]
}

async fn meddled_with(layer: KeepAliveLayer, is_http2: bool) {
    TURNS.set(0);
    let upstream = Upstream::start(|request| match request.nth % 5 {
        3 => Reply::ok("ok").closing(),
        4 => Reply::nothing().close(),
        _ => Reply::ok("ok").after(Duration::from_millis(1)),
    })
    .await;
    let streams = Http2Upstream::new(|request| match request.nth % 7 {
        5 => Http2Reply::go_away(),
        6 => Http2Reply::reset_stream(7),
        _ => Http2Reply::ok("ok"),
    });
    let connector = Connector::memory(&upstream).script(|dial| match dial.nth % 6 {
        5 => Plan::fail(std::io::ErrorKind::ConnectionRefused),
        _ => Plan::connect(),
    });
    let meddler = Arc::new(Meddler::default());
    let layer = layer.observer(meddler.clone());
    let pool: KeepAlive = if is_http2 {
        layer.protocol(Protocol::Http2).layer(streams.connector())
    } else {
        layer.layer(connector)
    };
    assert!(meddler.0.set(pool.clone()).is_ok());
    let callers = (0..24).map(|caller| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for round in caller..caller + 10 {
                let patience = Duration::from_millis([1, 3, 50, 5_000][round % 4]);
                drop(timeout(patience, fetch(&pool, &of(round))).await);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    TURNS.set(MOST);
    sleep(Duration::from_secs(3)).await;
    for stats in pool.snapshot().origins {
        super::support::assert_at_rest(&stats);
    }
    assert_eq!(pool.drain(Duration::from_secs(5)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_observer_may_touch_the_pool() {
    for (layer, is_http2) in layers() {
        meddled_with(layer, is_http2).await;
    }
}

/// A task that is polled in its waker.
struct Inline {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    again: AtomicBool,
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        self.again.store(true, SeqCst);
        // Being polled: it is polled again after that.
        let Ok(mut future) = self.future.try_lock() else {
            return;
        };
        let waker = Waker::from(self.clone());
        while self.again.swap(false, SeqCst)
            && let Some(polled) = &mut *future
        {
            let polled = polled.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_ready() {
                *future = None;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_may_poll_at_once() {
    for (layer, is_http2) in layers() {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let streams = Http2Upstream::new(|_| Http2Reply::ok("ok"));
        let pool: KeepAlive = if is_http2 {
            layer.protocol(Protocol::Http2).layer(streams.connector())
        } else {
            layer.layer(Connector::memory(&upstream))
        };
        let done = Arc::new(AtomicUsize::new(0));
        let tasks = (0..40).map(|caller| {
            let (pool, done) = (pool.clone(), done.clone());
            let calls = async move {
                for round in caller..caller + 5 {
                    fetch(&pool, &of(round)).await.unwrap();
                    done.fetch_add(1, SeqCst);
                }
            };
            Arc::new(Inline {
                future: Mutex::new(Some(Box::pin(calls))),
                again: AtomicBool::new(false),
            })
        });
        let tasks: Vec<_> = tasks.collect();
        for task in &tasks {
            task.clone().wake();
        }
        tollgate_testing::eventually(|| done.load(SeqCst) == 200).await;
    }
}
