//! HTTP/2's sender.

use http::Request;
use hyper::client::conn::http2;

use crate::connection::erased::ErasedBody;
use crate::connection::hand_over::HandOver;
use crate::connection::sender::Sent;
use crate::connection::upload::Uploads;

/// HTTP/2's sender, of which each stream has a clone.
#[derive(Clone)]
pub(crate) struct Http2Sender {
    sender: http2::SendRequest<ErasedBody>,
    hand_over: HandOver,
    uploads: Uploads,
}

impl Http2Sender {
    pub(crate) const fn new(
        sender: http2::SendRequest<ErasedBody>,
        hand_over: HandOver,
        uploads: Uploads,
    ) -> Self {
        Self {
            sender,
            hand_over,
            uploads,
        }
    }

    pub(crate) fn uploads(&self) -> Uploads {
        self.uploads.clone()
    }

    /// Hands a request over, if it can still be taken.
    pub(crate) fn send(
        &mut self,
        request: Request<ErasedBody>,
    ) -> impl Future<Output = Sent> + Send + use<> {
        // Not while the driver drops the half that takes it, as in HTTP/1.
        let _held = self.hand_over.hold();
        self.sender.try_send_request(request)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}
