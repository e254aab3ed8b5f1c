//! An HTTP/2 server with faults by name.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tollgate_core::BoxError;

use crate::memory::InMemory;

/// An HTTP/2 server that follows a script for each request, in memory.
///
/// ```
/// # use tollgate_testing::http2::{Http2Reply, Http2Upstream};
/// // The first connection goes away at its first request, unprocessed.
/// let upstream = Http2Upstream::new(|request| match request.connection {
///     0 => Http2Reply::go_away(),
///     _ => Http2Reply::ok("whole"),
/// });
/// let connector = upstream.connector(); // for Protocol::Http2 and URIs of scheme http
/// # drop(connector);
/// ```
#[derive(Clone)]
pub struct Http2Upstream {
    script: Arc<Script>,
    accepted: Arc<AtomicUsize>,
}

type Script = dyn Fn(&Http2Request) -> Http2Reply + Send + Sync;

/// A request as it arrived.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Http2Request {
    /// The number of its connection, counted from 0.
    pub connection: usize,
    /// Its place among the requests of the connection, counted from 0.
    pub nth: usize,
    /// Its path and query.
    pub target: String,
}

/// The answer to one request.
#[derive(Clone, Debug)]
#[must_use = "a reply is what a script returns"]
pub struct Http2Reply(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Ok(Bytes),
    GoAway,
    Reset(Reason),
    ResetAt(Bytes, Reason),
    Never,
}

impl Http2Reply {
    /// A 200 with this body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self(Kind::Ok(body.into()))
    }

    /// GOAWAY, and `REFUSED_STREAM` for this request, so that the peer may send it again; then the
    /// connection ends.
    pub const fn go_away() -> Self {
        Self(Kind::GoAway)
    }

    /// `RST_STREAM` in place of a response, with this error code of RFC 9113 section 7: 7 is
    /// `REFUSED_STREAM`, which means that the request was not processed.
    pub fn reset_stream(code: u32) -> Self {
        Self(Kind::Reset(code.into()))
    }

    /// A 200 whose stream is reset after this part of its body, with this error code.
    pub fn reset_stream_after(body: impl Into<Bytes>, code: u32) -> Self {
        Self(Kind::ResetAt(body.into(), code.into()))
    }

    /// No answer, until the peer closes.
    pub const fn never() -> Self {
        Self(Kind::Never)
    }
}

impl Http2Upstream {
    /// An upstream that follows `script` for each request.
    pub fn new(script: impl Fn(&Http2Request) -> Http2Reply + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            accepted: Arc::default(),
        }
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// A connector that leads every URI here.
    pub fn connector(&self) -> InMemory {
        let upstream = self.clone();
        InMemory::serving(move |stream| {
            let connection = upstream.accepted.fetch_add(1, SeqCst);
            let script = Arc::clone(&upstream.script);
            tokio::spawn(async move {
                // An error is the client's: it has left.
                drop(play(stream, connection, script).await);
            });
            io::Result::Ok(())
        })
    }
}

impl fmt::Debug for Http2Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Upstream")
            .field("accepted", &self.accepted())
            .finish_non_exhaustive()
    }
}

type Server = server::Connection<DuplexStream, Bytes>;
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// Serves a connection with hyper's HTTP/2 until it ends.
pub async fn serve<S, B>(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: S)
where
    S: HttpService<Incoming, ResBody = B, Error: Into<BoxError>, Future: Send + 'static>,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let server = http2::Builder::new(TokioExecutor::new());
    // An error is the client's, which has it too.
    drop(server.serve_connection(TokioIo::new(io), service).await);
}

async fn play(
    stream: DuplexStream,
    connection: usize,
    script: Arc<Script>,
) -> Result<(), h2::Error> {
    let mut server = server::handshake(stream).await?;
    let mut nth = 0;
    // Streams that get no answer live as long as the connection.
    let (mut held, mut resets) = (Vec::new(), Vec::new());
    while let Some(accepted) = next(&mut server, &mut resets).await {
        let (request, mut respond) = accepted?;
        let request = read(&request, connection, nth);
        nth += 1;
        match script(&request).0 {
            Kind::Ok(body) => drop(answer(&mut respond, body, true)?),
            Kind::ResetAt(body, reason) => {
                resets.push((answer(&mut respond, body, false)?, reason));
            }
            Kind::Reset(reason) => respond.send_reset(reason),
            Kind::Never => held.push(respond),
            Kind::GoAway => {
                respond.send_reset(Reason::REFUSED_STREAM);
                // Not abrupt: the client may be writing, and would read a broken pipe in its place.
                server.graceful_shutdown();
            }
        }
    }
    Ok(())
}

/// The next request. It drives the connection meanwhile, and resets streams when what was sent on them
/// before is written, since a reset discards what is not.
async fn next(
    server: &mut Server,
    resets: &mut Vec<(SendStream<Bytes>, Reason)>,
) -> Option<Result<Accepted, h2::Error>> {
    poll_fn(|cx| {
        loop {
            match server.poll_accept(cx) {
                Poll::Pending if !resets.is_empty() => {
                    for (mut stream, reason) in resets.drain(..) {
                        stream.send_reset(reason);
                    }
                }
                polled => return polled,
            }
        }
    })
    .await
}

fn read<B>(request: &Request<B>, connection: usize, nth: usize) -> Http2Request {
    let target = request.uri().path_and_query();
    Http2Request {
        connection,
        nth,
        target: target.map_or_else(String::new, ToString::to_string),
    }
}

fn answer(
    respond: &mut SendResponse<Bytes>,
    body: Bytes,
    whole: bool,
) -> Result<SendStream<Bytes>, h2::Error> {
    let mut stream = respond.send_response(Response::new(()), false)?;
    stream.send_data(body, whole)?;
    Ok(stream)
}
