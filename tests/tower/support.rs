//! A service that works for a while, a connector that answers or hangs, and calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use tokio::time::sleep;
use tollgate::{Client, OriginClient};
use tollgate_core::BoxError;
use tollgate_testing::{Connector, DEADLINE, Plain, Upstream, within};
use tower::load::{CompleteOnResponse, Constant, PendingRequests};
use tower::load_shed::error::Overloaded;
use tower::util::BoxCloneService;
use tower::{Service, ServiceExt, service_fn};

pub(crate) const CALLS: usize = 40;
/// The budget of a connect that hangs.
pub(crate) const BUDGET: Duration = Duration::from_millis(136);
/// How long a worker takes.
pub(crate) const WORK: Duration = Duration::from_millis(10);

pub(crate) type Req = Request<Empty<Bytes>>;

/// How much a service has to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    now: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

impl Work {
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(SeqCst)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    fn begin(&self) {
        self.calls.fetch_add(1, SeqCst);
        self.peak
            .fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
    }

    fn end(&self) {
        self.now.fetch_sub(1, SeqCst);
    }
}

pub(crate) type Worker = BoxCloneService<Req, Response<Full<Bytes>>, BoxError>;

/// A service that takes [`WORK`] for a request, and tells all of these of it.
pub(crate) fn worker<const N: usize>(told: [&Work; N]) -> Worker {
    let told = told.map(Clone::clone);
    BoxCloneService::new(service_fn(move |_: Req| {
        let told = told.clone();
        async move {
            told.iter().for_each(Work::begin);
            sleep(WORK).await;
            told.iter().for_each(Work::end);
            Ok(Response::new(Full::from("ok")))
        }
    }))
}

/// An endpoint whose load is how many requests it has.
pub(crate) fn endpoint<S>(service: S) -> PendingRequests<S, CompleteOnResponse> {
    PendingRequests::new(service, CompleteOnResponse::default())
}

/// An endpoint that is as good as any other.
pub(crate) fn equal<S>(service: S) -> Constant<S, u8> {
    Constant::new(service, 0)
}

/// Something like a connector: connects at once or never.
pub(crate) fn connects(
    hangs: bool,
) -> impl Service<
    Uri,
    Response = (),
    Error = BoxError,
    Future = BoxFuture<'static, Result<(), BoxError>>,
> + Clone
+ Send {
    service_fn(move |_: Uri| -> BoxFuture<'static, Result<(), BoxError>> {
        if hangs {
            Box::pin(std::future::pending())
        } else {
            Box::pin(std::future::ready(Ok(())))
        }
    })
}

/// A client of `n` warm connections to this upstream, as a service for its one origin.
pub(crate) async fn warm(upstream: &Plain, n: usize) -> (Client, OriginClient) {
    let client = Client::builder().max_connections_per_origin(n).build();
    let (client, origin) = (client.unwrap(), upstream.uri("/").to_string());
    client.warm(&origin, n).unwrap();
    tollgate_testing::eventually(|| client.stats(&origin).is_some_and(|s| s.idle == n)).await;
    let service = client.origin(&origin).unwrap();
    (client, service)
}

/// A connector to an upstream in memory.
pub(crate) fn connector(upstream: &Upstream) -> Connector {
    Connector::memory(upstream)
}

pub(crate) fn uri() -> Uri {
    Uri::from_static("http://billing.test/")
}

pub(crate) fn get() -> Req {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri();
    request
}

/// One call, to the end of its body.
pub(crate) async fn call<S, B>(service: S) -> Result<Bytes, BoxError>
where
    S: Service<Req, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let response = service.oneshot(get()).await.map_err(Into::into)?;
    let body = response.into_body().collect().await.map_err(Into::into)?;
    Ok(body.to_bytes())
}

/// [`CALLS`] calls at once.
pub(crate) async fn at_once<S, B>(service: &S) -> Vec<Result<Bytes, BoxError>>
where
    S: Service<Req, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    within(
        DEADLINE,
        join_all((0..CALLS).map(|_| call(service.clone()))),
    )
    .await
}

/// Every call of this many at once goes well.
pub(crate) async fn all_go_well<S, B>(service: &S)
where
    S: Service<Req, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    for answer in at_once(service).await {
        assert_eq!(answer.unwrap(), "ok");
    }
}

/// How many went well; all others were shed.
#[track_caller]
pub(crate) fn served<T>(answers: &[Result<T, BoxError>]) -> usize {
    let is_served = |answer: &Result<T, BoxError>| match answer {
        Ok(_) => true,
        Err(error) => {
            let shed = tollgate_core::error::find::<Overloaded>(&**error);
            assert!(shed.is_some(), "{error:?}");
            false
        }
    };
    answers.iter().filter(|answer| is_served(answer)).count()
}
