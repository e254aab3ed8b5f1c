//! HTTP/2's sender, and the door between it and the half that takes its requests.

use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use hyper::client::conn::http2;

use crate::erased::ErasedBody;
use crate::sender::Sent;

/// HTTP/2's sender, of which each stream has a clone.
#[derive(Clone)]
pub(crate) struct Streams {
    sender: http2::SendRequest<ErasedBody>,
    door: Door,
}

impl Streams {
    pub(crate) const fn new(sender: http2::SendRequest<ErasedBody>, door: Door) -> Self {
        Self { sender, door }
    }

    /// Hands a request over, if there is still somebody to take it.
    pub(crate) fn send(
        &mut self,
        request: Request<ErasedBody>,
    ) -> impl Future<Output = Sent> + Send + use<> {
        self.door.with(|| self.sender.try_send_request(request))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Lets nobody hand a request over while the half that takes them is dropped.
///
/// What is sent into hyper's channel in the middle of that drop is lost until every sender is gone:
/// neither taken nor given back. The senders live as long as the connection's last stream, and its
/// caller would wait as long.
///
/// The mutex guards that order alone, for one push and one drop. Both wake tasks, who at most find a
/// connection that takes no more.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<Mutex<()>>);

impl Door {
    pub(crate) fn with<R>(&self, pass: impl FnOnce() -> R) -> R {
        let _held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pass()
    }
}
