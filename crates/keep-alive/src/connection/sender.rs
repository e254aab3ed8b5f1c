//! The sending end of a connection.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use sync_wrapper::SyncWrapper;

use crate::connection::erased::ErasedBody;
use crate::connection::hand_over::HandOver;
use crate::connection::http2_sender::Http2Sender;
use crate::connection::replay::Replay;
use crate::connection::request;
use crate::connection::upload::Upload;

/// What became of a request that was handed to hyper.
pub(crate) type Sent = Result<Response<Incoming>, TrySendError<Request<ErasedBody>>>;

/// A request on its way down, left where it is until hyper takes it: it is large to move.
pub(crate) type Outgoing = Option<Request<ErasedBody>>;

/// HTTP/1's sender, which sends one request at a time.
pub(crate) struct Http1Sender {
    sender: http1::SendRequest<ErasedBody>,
    hand_over: HandOver,
}

impl Http1Sender {
    pub(crate) const fn new(sender: http1::SendRequest<ErasedBody>, hand_over: HandOver) -> Self {
        Self { sender, hand_over }
    }
}

/// HTTP/2's sender for one stream, and the request body that is or was on it.
struct Http2Stream {
    streams: Http2Sender,
    upload: Option<Arc<Upload>>,
}

/// The sending end of a connection, with the memory for one exchange.
///
/// hyper's future has no name. Its type is forgotten here once a connection, and not once a request,
/// which would cost a box each. HTTP/2 has as many of these as streams were used at once.
pub(crate) type Sender = Pin<Box<dyn Sending>>;

/// A sender for an HTTP/1 connection that has just been made.
pub(crate) fn http1_sender(sender: Http1Sender) -> Sender {
    with(sender, |one, request| {
        let Http1Sender { sender, hand_over } = one;
        // Not while the driver drops the half that takes it: the request would be lost (see `HandOver`).
        let _held = hand_over.hold();
        sender.try_send_request(request)
    })
}

/// A sender for one stream of an HTTP/2 connection.
pub(crate) fn stream(streams: Http2Sender) -> Sender {
    let upload = None;
    with(Http2Stream { streams, upload }, |one, request| {
        one.streams.send(request)
    })
}

fn with<S, M, F>(sender: S, send: M) -> Sender
where
    S: Wire + 'static,
    M: Fn(&mut S, Request<ErasedBody>) -> F + Send + Sync + 'static,
    F: Future<Output = Sent> + Send + 'static,
{
    Box::pin(End {
        sender,
        send,
        head: None,
        replay: None,
        asks_head: false,
    })
}

/// Where a request goes, as far as it is written for that.
pub(crate) struct Target<'a> {
    /// The `Host` of requests that have none.
    pub(crate) host: &'a HeaderValue,
    pub(crate) uri: &'a Uri,
    /// The most of an upload that is kept to be sent once more.
    pub(crate) buffer: usize,
}

/// The sending end of a connection.
pub(crate) trait Sending: Send + Sync {
    /// Hands a request to hyper, in the form that the protocol wants. `keep` asks to keep what it
    /// takes to send it once more.
    fn send(self: Pin<&mut Self>, request: &mut Outgoing, to: &Target<'_>, keep: bool);

    /// Looks for the response head. Once it is there, only [`forget`](Self::forget) may follow.
    fn poll_head(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent>;

    /// Forgets the exchange, of which nothing more is wanted.
    fn forget(self: Pin<&mut Self>);

    /// What was kept to send the last request once more.
    fn take_replay(self: Pin<&mut Self>) -> Option<Replay>;

    /// The body of the last request, if it was on a stream and not empty.
    fn upload(&self) -> Option<&Arc<Upload>>;

    /// Returns true if the last request was a HEAD, whose response has no body.
    fn asked_head(&self) -> bool;

    /// Whether hyper would take a request now.
    fn is_ready(&self) -> bool;

    /// Whether hyper will take no more requests.
    fn is_closed(&self) -> bool;
}

/// What is different between the versions of HTTP on the way down.
trait Wire: Send + Sync {
    /// Gives the request the form that goes on the wire; returns what it takes to send it once more,
    /// if that is to be kept and may be.
    fn prepare(
        &mut self,
        request: &mut Request<ErasedBody>,
        to: &Target<'_>,
        keep: bool,
    ) -> Option<Replay>;

    /// The request is not sent again.
    #[inline]
    fn forget(&self) {}

    #[inline]
    fn upload(&self) -> Option<&Arc<Upload>> {
        None
    }

    fn is_ready(&self) -> bool;

    fn is_closed(&self) -> bool;
}

impl Wire for Http1Sender {
    #[inline]
    fn prepare(
        &mut self,
        request: &mut Request<ErasedBody>,
        to: &Target<'_>,
        keep: bool,
    ) -> Option<Replay> {
        let replay = if keep { Replay::of(request) } else { None };
        request::write_http1(request, to.host);
        replay
    }

    fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Wire for Http2Stream {
    fn prepare(
        &mut self,
        request: &mut Request<ErasedBody>,
        to: &Target<'_>,
        keep: bool,
    ) -> Option<Replay> {
        // Before it is written: what is kept is the prepared form.
        let replay = keep.then(|| Replay::without_body(request)).flatten();
        request::write_http2(request, to.uri);
        let room = if keep { to.buffer } else { 0 };
        self.upload = Upload::of(request.body_mut(), room, self.streams.uploads());
        replay.map(|replay| replay.with_body(self.upload.clone()))
    }

    fn forget(&self) {
        if let Some(upload) = &self.upload {
            upload.keep_nothing();
        }
    }

    fn upload(&self) -> Option<&Arc<Upload>> {
        self.upload.as_ref()
    }

    fn is_ready(&self) -> bool {
        let uploads = self
            .upload
            .as_ref()
            .is_some_and(|upload| !upload.has_ended());
        !uploads && !self.is_closed()
    }

    fn is_closed(&self) -> bool {
        self.streams.is_closed()
    }
}

pin_project_lite::pin_project! {
    struct End<S, M, F> {
        sender: S,
        send: M,
        #[pin]
        head: Option<SyncWrapper<F>>,
        replay: Option<Replay>,
        asks_head: bool,
    }
}

impl<S, M, F> Sending for End<S, M, F>
where
    S: Wire,
    M: Fn(&mut S, Request<ErasedBody>) -> F + Send + Sync,
    F: Future<Output = Sent> + Send,
{
    fn send(self: Pin<&mut Self>, request: &mut Outgoing, to: &Target<'_>, keep: bool) {
        let mut this = self.project();
        if let Some(outgoing) = request {
            *this.asks_head = outgoing.method() == Method::HEAD;
            *this.replay = this.sender.prepare(outgoing, to, keep);
        }
        let outgoing = request.take().expect("a request is sent once");
        let head = (this.send)(this.sender, outgoing);
        this.head.set(Some(SyncWrapper::new(head)));
    }

    fn poll_head(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        let head = self.project().head.as_pin_mut();
        let head = head.expect("a head is looked for once a request was sent");
        head.get_pin_mut().poll(cx)
    }

    fn forget(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.head.set(None);
        *this.replay = None;
        this.sender.forget();
    }

    fn take_replay(self: Pin<&mut Self>) -> Option<Replay> {
        self.project().replay.take()
    }

    fn upload(&self) -> Option<&Arc<Upload>> {
        self.sender.upload()
    }

    fn asked_head(&self) -> bool {
        self.asks_head
    }

    fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl fmt::Debug for dyn Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}
