//! HTTP/2 under more callers than one connection has streams for: Tollgate beside hyper-util's legacy
//! client, against the same server, which allows 64 streams a connection and takes 5 ms an answer.
//!
//! hyper-util stays on one connection; Tollgate opens further ones, up to four. Exits with a failure
//! if that is not worth three times the throughput.

use std::convert::Infallible;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate::{Client, Protocol};
use tower::{BoxError, Service, ServiceExt};

const STREAMS: u32 = 64;
const ANSWER: Duration = Duration::from_millis(5);
const CALLERS: usize = 256;
const REQUESTS: u64 = 20_000;
const AT_LEAST: f64 = 3.0;

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let server = Server::start().await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let mut theirs = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    let theirs = theirs.http2_only(true).build(connector);
    let theirs = measure("hyper-util", theirs, &server).await?;

    // The default of up to four connections is written out: it is what is shown.
    let four = std::num::NonZeroUsize::MIN.saturating_add(3);
    let ours = Client::builder()
        .protocol(Protocol::Http2)
        .http2(tollgate::Http2Options::new().max_http2_connections(four))
        .build()?;
    let ours = measure("tollgate", ours, &server).await?;

    let ratio = ours / theirs;
    writeln!(
        std::io::stdout(),
        "{ratio:.2} times the throughput; at least {AT_LEAST} are promised"
    )?;
    Ok(ExitCode::from(u8::from(ratio < AT_LEAST)))
}

/// Sends all requests, prints and returns how many there were a second.
async fn measure<S, B>(name: &str, client: S, server: &Server) -> Result<f64, BoxError>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send,
{
    // The connection and what the peer allows on it are known before the clock starts.
    exchange(client.clone(), &server.uri).await?;
    server.seen.peak.store(0, Relaxed);
    let connections_before = server.seen.connections.load(Relaxed) - 1;
    let sent = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, uri, sent) = (client.clone(), server.uri.clone(), Arc::clone(&sent));
        callers.spawn(async move {
            while sent.fetch_add(1, Relaxed) < REQUESTS {
                exchange(client.clone(), &uri).await?;
            }
            Ok::<_, BoxError>(())
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    let took = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a number of requests is small")]
    let rate = REQUESTS as f64 / took;
    writeln!(
        std::io::stdout(),
        "{name:10} {REQUESTS} requests of {CALLERS} callers in {took:.2} s, {rate:.0} a second, \
         {} connections, at most {} at once",
        server.seen.connections.load(Relaxed) - connections_before,
        server.seen.peak.load(Relaxed),
    )?;
    Ok(rate)
}

async fn exchange<S, B>(client: S, uri: &Uri) -> Result<(), BoxError>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>>,
{
    let request = Request::get(uri).body(Empty::new())?;
    let response = client.oneshot(request).await.map_err(Into::into)?;
    if !response.status().is_success() {
        return Err(format!("status {}", response.status()).into());
    }
    response
        .into_body()
        .collect()
        .await
        .map(drop)
        .map_err(Into::into)
}

/// The upstream, and what it sees.
struct Server {
    uri: Uri,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
}

impl Server {
    async fn start() -> Result<Self, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let uri = format!("http://{}/", listener.local_addr()?).parse()?;
        let seen = Arc::new(Seen::default());
        tokio::spawn(serve(listener, Arc::clone(&seen)));
        Ok(Self { uri, seen })
    }
}

async fn serve(listener: TcpListener, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).ok();
        seen.connections.fetch_add(1, Relaxed);
        let seen = Arc::clone(&seen);
        let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS);
        let service = service_fn(move |_| answer(Arc::clone(&seen)));
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(seen: Arc<Seen>) -> Result<Response<Full<Bytes>>, Infallible> {
    let now = seen.in_flight.fetch_add(1, Relaxed) + 1;
    seen.peak.fetch_max(now, Relaxed);
    tokio::time::sleep(ANSWER).await;
    seen.in_flight.fetch_sub(1, Relaxed);
    Ok(Response::new(Full::from("ok")))
}
