//! A service with a method of each kind and its client, as tonic-prost-build would write them.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::Uri;
use http::uri::PathAndQuery;
use tokio::time::sleep;
use tollgate_core::BoxError;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::server::{Grpc, NamedService};
use tonic::{Code, IntoRequest, IntoStreamingRequest, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Hello {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

impl Hello {
    #[expect(clippy::needless_pass_by_value, reason = "made of numbers in passing")]
    pub(crate) fn new(text: impl ToString) -> Self {
        let text = text.to_string();
        Self { text }
    }
}

type Codec = ProstCodec<Hello, Hello>;
type Hellos = Pin<Box<dyn Stream<Item = Result<Hello, Status>> + Send>>;

/// The server's side.
#[derive(Clone, Default)]
pub(crate) struct Greeter {
    /// Calls whose answer is not over.
    live: Arc<AtomicUsize>,
    /// Calls that began.
    calls: Arc<AtomicUsize>,
}

/// One call, until its answer is over or was given up.
struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Greeter {
    pub(crate) fn live(&self) -> usize {
        self.live.load(SeqCst)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    fn begin(&self) -> Live {
        self.calls.fetch_add(1, SeqCst);
        self.live.fetch_add(1, SeqCst);
        Live(Arc::clone(&self.live))
    }

    /// Answers with what it was told; some words mean more.
    async fn say_hello(self, request: Request<Hello>) -> Result<Response<Hello>, Status> {
        let _live = self.begin();
        let timeout = request.metadata().get("grpc-timeout").cloned();
        match request.get_ref().text.as_str() {
            "fail" => return Err(failure()),
            "hang" => std::future::pending().await,
            "timeout?" => {
                let timeout = timeout
                    .as_ref()
                    .map_or("none", |value| value.to_str().unwrap());
                return Ok(Response::new(Hello::new(timeout)));
            }
            "late" => return Err(Status::deadline_exceeded("the greeter is late")),
            slow if slow.starts_with("slow ") => sleep(Duration::from_millis(5)).await,
            _ => {}
        }
        let mut response = Response::new(request.into_inner());
        let metadata = response.metadata_mut();
        metadata.insert("greeter", "at your service".parse().unwrap());
        Ok(response)
    }

    /// Counts up to what it was told, or for ever, or fails after two.
    fn count(self, request: Request<Hello>) -> Ready<Result<Response<Hellos>, Status>> {
        let live = self.begin();
        let text = request.into_inner().text;
        let (end, pace) = match text.as_str() {
            "ever" => (usize::MAX, Duration::from_millis(1)),
            "fail" => (2, Duration::ZERO),
            number => (number.parse().unwrap_or_default(), Duration::ZERO),
        };
        let numbers = stream::iter(0..end).then(move |n| async move {
            if !pace.is_zero() {
                sleep(pace).await;
            }
            Ok(Hello::new(n))
        });
        let numbers = numbers.chain(stream::iter((text == "fail").then(|| Err(failure()))));
        let numbers = numbers.inspect(move |_| _ = &live);
        ready(Ok(Response::new(numbers.boxed())))
    }

    async fn sum(self, request: Request<Streaming<Hello>>) -> Result<Response<Hello>, Status> {
        let _live = self.begin();
        let numbers = request.into_inner();
        let sum = numbers.try_fold(0_u64, |sum, hello| async move {
            Ok(sum + hello.text.parse::<u64>().map_err(|_| failure())?)
        });
        Ok(Response::new(Hello::new(sum.await?)))
    }

    /// Says back each thing as it comes.
    fn chat(self, request: Request<Streaming<Hello>>) -> Ready<Result<Response<Hellos>, Status>> {
        let live = self.begin();
        let said = request.into_inner().inspect(move |_| _ = &live);
        ready(Ok(Response::new(said.boxed())))
    }
}

/// A status with all that one can have.
pub(crate) fn failure() -> Status {
    let mut status =
        Status::with_details(Code::Aborted, "not today: 100 %, änd why", "\0why".into());
    let metadata = status.metadata_mut();
    metadata.insert("retry-in", "7".parse().unwrap());
    status
}

impl NamedService for Greeter {
    const NAME: &'static str = "greeter.Greeter";
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let greeter = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(Codec::default());
            Ok(match request.uri().path() {
                "/greeter.Greeter/SayHello" => {
                    grpc.unary(service_fn(|r| greeter.clone().say_hello(r)), request)
                        .await
                }
                "/greeter.Greeter/Count" => {
                    let count = service_fn(|r| greeter.clone().count(r));
                    grpc.server_streaming(count, request).await
                }
                "/greeter.Greeter/Sum" => {
                    let sum = service_fn(|r| greeter.clone().sum(r));
                    grpc.client_streaming(sum, request).await
                }
                "/greeter.Greeter/Chat" => {
                    grpc.streaming(service_fn(|r| greeter.clone().chat(r)), request)
                        .await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

/// The client's side, over any transport.
#[derive(Clone, Debug)]
pub(crate) struct GreeterClient<T> {
    inner: tonic::client::Grpc<T>,
}

impl<T> GreeterClient<T>
where
    T: GrpcService<Body>,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    pub(crate) fn with_origin(inner: T, origin: Uri) -> Self {
        let inner = tonic::client::Grpc::with_origin(inner, origin);
        Self { inner }
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = self.inner.ready().await;
        ready.map_err(|error| Status::unknown(format!("service was not ready: {}", error.into())))
    }

    pub(crate) async fn say_hello(
        &mut self,
        request: impl IntoRequest<Hello>,
    ) -> Result<Response<Hello>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/greeter.Greeter/SayHello");
        let request = request.into_request();
        self.inner.unary(request, path, Codec::default()).await
    }

    pub(crate) async fn count(
        &mut self,
        request: impl IntoRequest<Hello>,
    ) -> Result<Response<Streaming<Hello>>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/greeter.Greeter/Count");
        let (request, codec) = (request.into_request(), Codec::default());
        self.inner.server_streaming(request, path, codec).await
    }

    pub(crate) async fn sum(
        &mut self,
        request: impl IntoStreamingRequest<Message = Hello>,
    ) -> Result<Response<Hello>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/greeter.Greeter/Sum");
        let (request, codec) = (request.into_streaming_request(), Codec::default());
        self.inner.client_streaming(request, path, codec).await
    }

    pub(crate) async fn chat(
        &mut self,
        request: impl IntoStreamingRequest<Message = Hello>,
    ) -> Result<Response<Streaming<Hello>>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/greeter.Greeter/Chat");
        let (request, codec) = (request.into_streaming_request(), Codec::default());
        self.inner.streaming(request, path, codec).await
    }
}
