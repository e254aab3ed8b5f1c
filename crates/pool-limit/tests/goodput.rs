//! Goodput of callers that give up, over a client that owns its connections out of sight (A13).
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use common::{Script, assert_idle, ms};
use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tollgate_core::{Event, QueueOrder};
use tollgate_pool_limit::{Discipline, Limits, PoolLimitError, PoolLimitHandle, PoolLimitLayer};
use tollgate_testing::Recorder;
use tower::{Layer, Service, ServiceExt, service_fn};

const A: &str = "http://a.test";

/// A peer with as many workers as there are places: it works off what it was sent whether its caller
/// is still there or not.
#[derive(Clone)]
struct Peer {
    workers: Arc<Semaphore>,
    hold: Duration,
}

impl Peer {
    async fn answer(self) -> Result<Response<Script>, Infallible> {
        let work = tokio::spawn(async move {
            let _worker = self.workers.acquire().await.unwrap();
            sleep(self.hold).await;
        });
        work.await.unwrap();
        Ok(Response::new(Script::empty()))
    }
}

#[derive(Clone, Copy)]
struct Load {
    places: usize,
    callers: usize,
    hold: Duration,
    limit: Duration,
    told: bool,
    discipline: Discipline,
}

const SMALL: Load = Load {
    places: 4,
    callers: 40,
    hold: ms(300),
    limit: ms(800),
    told: false,
    discipline: Discipline::Adaptive,
};

/// Answers of those possible from the second generation of callers on, and what the limit counted.
async fn play(load: Load) -> (f64, PoolLimitHandle) {
    let peer = Peer {
        workers: Arc::new(Semaphore::new(load.places)),
        hold: load.hold,
    };
    let layer = PoolLimitLayer::per_origin(load.places).unwrap();
    let layer = layer.discipline(load.discipline);
    let service = layer.layer(service_fn(move |_: Request<()>| peer.clone().answer()));
    let handle = service.handle();
    let (start, lasts) = (Instant::now(), Duration::from_secs(8));
    let second = start + load.limit + load.hold;
    let good = Arc::new(AtomicUsize::new(0));
    let callers = (0..load.callers).map(|caller| {
        let (mut service, good) = (service.clone(), good.clone());
        tokio::spawn(async move {
            sleep(Duration::from_micros(500) * u32::try_from(caller).unwrap()).await;
            while start.elapsed() < lasts {
                let mut request = Request::get(A).body(()).unwrap();
                if load.told {
                    let limits = Limits::new().timeout(load.limit);
                    request.extensions_mut().insert(limits);
                }
                let call = service.ready().await.unwrap().call(request);
                match timeout(load.limit, call).await {
                    Ok(Ok(_)) if Instant::now() >= second => _ = good.fetch_add(1, Relaxed),
                    Ok(Err(refused)) => {
                        let refused = refused.downcast_ref::<PoolLimitError>().unwrap();
                        let late = refused.would_be_late().expect("nothing else refuses");
                        assert!(late.left < late.needed());
                        // A refusal at once is answered by a pause.
                        sleep(ms(10)).await;
                    }
                    _ => {}
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let measured = (lasts.saturating_sub(load.limit + load.hold)).as_secs_f64();
    let possible =
        f64::from(u32::try_from(load.places).unwrap()) * measured / load.hold.as_secs_f64();
    let good = f64::from(u32::try_from(good.load(Relaxed)).unwrap());
    (good / possible, handle)
}

#[tokio::test(start_paused = true)]
async fn callers_that_tell_nothing_keep_the_goodput() {
    for (places, callers, hold, limit) in
        [(4, 40, 300, 800), (16, 64, 100, 350), (32, 400, 50, 220)]
    {
        let load = Load {
            places,
            callers,
            hold: ms(hold),
            limit: ms(limit),
            ..SMALL
        };
        let (ratio, handle) = play(load).await;
        let totals = handle.total().totals;
        assert!(ratio >= 0.95, "{ratio} with {places}: {totals:?}");
        assert!(totals.granted_late <= 2 * places as u64, "{totals:?}");
        assert!(totals.turns >= 1, "the order has turned");
        assert_idle(&handle.total());
    }
}

#[tokio::test(start_paused = true)]
async fn limits_in_the_request_keep_fifo_goodput() {
    let (ratio, handle) = play(Load {
        told: true,
        ..SMALL
    })
    .await;
    let totals = handle.total().totals;
    assert!(ratio >= 0.98, "{ratio}: {totals:?}");
    assert_eq!((totals.granted_late, totals.turns), (0, 0));
    assert!(totals.late > 0, "refused then and there");
    assert_idle(&handle.total());
}

#[tokio::test(start_paused = true)]
async fn fifo_by_option_collapses_as_it_did() {
    let (ratio, handle) = play(Load {
        discipline: Discipline::Fifo,
        ..SMALL
    })
    .await;
    assert!(ratio < 0.2, "{ratio}");
    assert_eq!(handle.total().order, QueueOrder::Fifo);
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_the_order_turn_twice() {
    let orders = Recorder::new(|event| match *event {
        Event::OrderChanged { from, to, .. } => Some((from, to)),
        _ => None,
    });
    let layer = PoolLimitLayer::per_origin(1).unwrap();
    let layer = layer.observer(orders.clone());
    let service = layer.layer(service_fn(async |_: Request<()>| {
        sleep(ms(10)).await;
        Ok::<_, Infallible>(Response::new(Script::empty()))
    }));
    let call = |limit| {
        let call = service.clone().oneshot(Request::get(A).body(()).unwrap());
        tokio::spawn(timeout(ms(limit), call))
    };
    call(50).await.unwrap().unwrap().unwrap();
    for leaver in (0..6).map(|_| call(15)).collect::<Vec<_>>() {
        drop(leaver.await);
    }
    let newest = (QueueOrder::Fifo, QueueOrder::Newest);
    assert_eq!(orders.seen(), [newest]);
    sleep(Duration::from_secs(2)).await;
    for caller in [call(50), call(50)] {
        caller.await.unwrap().unwrap().unwrap();
    }
    let back = (QueueOrder::Newest, QueueOrder::Fifo);
    assert_eq!(orders.seen(), [newest, back]);
}
