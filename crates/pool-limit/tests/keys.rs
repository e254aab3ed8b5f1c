//! What has a limit of its own: origins, keys, the whole service.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use common::{Script, arrived, assert_idle, get, over_mock, start};
use http::Response;
use tollgate_core::BoxError;
use tollgate_pool_limit::{PoolLimitHandle, PoolLimitLayer};
use tower::{Service, service_fn};

const A: &str = "http://a.test";

fn limit(limit: usize) -> PoolLimitLayer {
    PoolLimitLayer::per_origin(limit).unwrap()
}

fn empty() -> Response<Script> {
    Response::new(Script::empty())
}

#[tokio::test(start_paused = true)]
async fn each_origin_has_a_limit_of_its_own() {
    let (mut service, mut peer) = over_mock(limit(1));
    let _a = start(&mut service, "http://a.test/1");
    let _b = start(&mut service, "http://b.test/1");
    let _secure = start(&mut service, "https://a.test/1");
    for _ in 0..3 {
        assert!(arrived(&mut peer).is_some());
    }
    let _same = start(&mut service, "HTTP://A.test:80/2");
    assert!(arrived(&mut peer).is_none());
    let handle = service.handle();
    assert_eq!(handle.origins().len(), 3);
    let a = handle.origin(&A.parse().unwrap()).unwrap();
    assert_eq!((a.in_flight, a.queued), (1, 1));
    assert_eq!((handle.total().in_flight, handle.total().queued), (3, 1));
    assert!(handle.origin(&"http://c.test".parse().unwrap()).is_none());
}

#[tokio::test(start_paused = true)]
async fn every_spelling_of_an_address_is_one_origin() {
    let (mut service, mut peer) = over_mock(limit(1));
    let _a = start(&mut service, "http://[0:0::1]:8080/");
    let _b = start(&mut service, "http://[::1]:8080/");
    assert!(arrived(&mut peer).is_some());
    assert!(arrived(&mut peer).is_none());
    assert_eq!(service.handle().origins().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_without_an_origin_share_a_limit() {
    let (mut service, mut peer) = over_mock(limit(1));
    let _a = start(&mut service, "/billing.Invoices/List");
    let _b = start(&mut service, "/billing.Invoices/Get");
    assert!(arrived(&mut peer).is_some());
    assert!(arrived(&mut peer).is_none());
    let unkeyed = service.handle().unkeyed();
    assert_eq!((unkeyed.in_flight, unkeyed.queued), (1, 1));
    assert!(service.handle().origins().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_custom_key_tells_limits_apart() {
    let by_path = |request: &common::Req| request.uri().path().to_owned();
    let (mut service, mut peer) = over_mock(PoolLimitLayer::per_key(1, by_path).unwrap());
    let _x = start(&mut service, "http://a.test/x");
    let _y = start(&mut service, "http://b.test/y");
    let _x2 = start(&mut service, "http://b.test/x");
    assert!(arrived(&mut peer).is_some() && arrived(&mut peer).is_some());
    assert!(arrived(&mut peer).is_none());
    let handle = service.handle();
    assert_eq!(handle.key(&"/x".to_owned()).unwrap().queued, 1);
    assert_eq!(handle.keys().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_whole_service_limit_spans_its_clones() {
    let (mut service, mut peer) = over_mock(PoolLimitLayer::whole_service(1).unwrap());
    let mut clone = service.clone();
    let _a = start(&mut service, "http://a.test");
    let _b = start(&mut clone, "http://b.test");
    assert!(arrived(&mut peer).is_some());
    assert!(arrived(&mut peer).is_none());
    let handle: PoolLimitHandle<()> = service.handle();
    assert_eq!(handle.total(), handle.unkeyed());
}

#[tokio::test(start_paused = true)]
async fn each_service_of_a_layer_has_own_limits() {
    let layer = limit(1);
    let (mut one, mut peer_of_one) = over_mock(layer.clone());
    let (mut other, mut peer_of_other) = over_mock(layer);
    let _a = start(&mut one, A);
    let _b = start(&mut other, A);
    assert!(arrived(&mut peer_of_one).is_some() && arrived(&mut peer_of_other).is_some());
}

#[tokio::test(start_paused = true)]
async fn unused_origins_are_forgotten_but_totals_kept() {
    let service = tower::Layer::layer(
        &limit(1),
        service_fn(|_: common::Req| async { Ok::<_, BoxError>(empty()) }),
    );
    let (mut used, _peer) = (service.clone(), ());
    for i in 0..10_000 {
        let _response = used
            .call(get(&format!("http://host-{i}.test")))
            .await
            .unwrap();
        assert!(service.handle().origins().len() <= 64);
    }
    let total = service.handle().total();
    assert_eq!(
        (total.totals.demands, total.totals.granted),
        (10_000, 10_000)
    );
    assert_idle(&total);
}

#[tokio::test(start_paused = true)]
async fn origins_in_use_are_never_forgotten() {
    let (mut service, mut peer) = over_mock(limit(1));
    let calls: Vec<_> = (0..1000)
        .map(|i| start(&mut service, &format!("http://host-{i}.test")))
        .collect();
    assert_eq!(service.handle().origins().len(), 1000);
    let _second = start(&mut service, "http://host-0.test");
    let mut reached = 0;
    while arrived(&mut peer).is_some() {
        reached += 1;
        // Or tokio's cooperative budget ends the loop.
        tokio::task::yield_now().await;
    }
    assert_eq!((reached, calls.len()), (1000, 1000));
}
