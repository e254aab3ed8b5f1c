//! The sending end of a connection.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use sync_wrapper::SyncWrapper;

use crate::erased::ErasedBody;
use crate::request::{self, Replay};

/// What became of a request that was handed to hyper.
pub(crate) type Sent = Result<Response<Incoming>, TrySendError<Request<ErasedBody>>>;

/// A request on its way down, left where it is until hyper takes it: it is large to move.
pub(crate) type Outgoing = Option<Request<ErasedBody>>;

/// The sending end of a connection, with the memory for one exchange.
///
/// hyper's future has no name. Its type is forgotten here once a connection, and not once a request,
/// which would cost a box each.
pub(crate) type Sender = Pin<Box<dyn Sending>>;

/// A sender for a connection that has just been made.
pub(crate) fn http1(sender: SendRequest<ErasedBody>) -> Sender {
    with(sender, SendRequest::try_send_request)
}

fn with<M, F>(sender: SendRequest<ErasedBody>, send: M) -> Sender
where
    M: Fn(&mut SendRequest<ErasedBody>, Request<ErasedBody>) -> F + Send + Sync + 'static,
    F: Future<Output = Sent> + Send + 'static,
{
    Box::pin(Http1 {
        sender,
        send,
        head: None,
        replay: None,
    })
}

/// The sending end of a connection.
pub(crate) trait Sending: Send + Sync {
    /// Hands a request to hyper, in the form that the protocol wants. `keep` asks to keep what it
    /// takes to send it once more.
    fn send(self: Pin<&mut Self>, request: &mut Outgoing, host: &HeaderValue, keep: bool);

    /// Looks for the response head. Once it is there, only [`forget`](Self::forget) may follow.
    fn poll_head(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent>;

    /// Forgets the exchange, of which nothing more is wanted.
    fn forget(self: Pin<&mut Self>);

    /// What was kept to send the last request once more.
    fn take_replay(self: Pin<&mut Self>) -> Option<Replay>;

    /// Whether hyper would take a request now.
    fn is_ready(&self) -> bool;

    /// Whether hyper will take no more requests.
    fn is_closed(&self) -> bool;
}

pin_project_lite::pin_project! {
    struct Http1<M, F> {
        sender: SendRequest<ErasedBody>,
        send: M,
        #[pin]
        head: Option<SyncWrapper<F>>,
        replay: Option<Replay>,
    }
}

impl<M, F> Sending for Http1<M, F>
where
    M: Fn(&mut SendRequest<ErasedBody>, Request<ErasedBody>) -> F + Send + Sync,
    F: Future<Output = Sent> + Send,
{
    fn send(self: Pin<&mut Self>, request: &mut Outgoing, host: &HeaderValue, keep: bool) {
        let mut this = self.project();
        let Some(outgoing) = request else { return };
        request::put_uri_in_wire_form(outgoing);
        if keep {
            *this.replay = Replay::of(outgoing);
        }
        request::put_host(outgoing, host);
        if let Some(outgoing) = request.take() {
            let head = (this.send)(this.sender, outgoing);
            this.head.set(Some(SyncWrapper::new(head)));
        }
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
    }

    fn take_replay(self: Pin<&mut Self>) -> Option<Replay> {
        self.project().replay.take()
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
