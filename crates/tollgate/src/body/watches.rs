//! The parts that watch a response's body as it is read.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body::{Body, Frame};
use tollgate_keep_alive::KeepAliveBody;

use crate::error::Error;
use crate::exchanges::Entry;
use crate::transfer::Transfer;

pub(crate) struct Watches {
    /// In the table of exchanges under way.
    entry: Option<Entry>,
    /// Counts its bytes.
    transfer: Option<Arc<Transfer>>,
}

impl Watches {
    /// Those of a body that begins; `None` without any.
    #[inline]
    pub(crate) fn of(
        body: &KeepAliveBody,
        entry: Option<Entry>,
        transfer: Option<Arc<Transfer>>,
    ) -> Option<Box<Self>> {
        if entry.is_none() && transfer.is_none() {
            return None;
        }
        // Without a frame to come nothing is to be counted: an answer to HEAD, or an empty one.
        let transfer = transfer.filter(|_| !body.is_end_stream());
        Some(Box::new(Self { entry, transfer }))
    }

    /// Sees a poll of the body; true if it was the last.
    #[inline(never)]
    pub(super) fn is_over_with(&self, frame: &Poll<Option<Result<Frame<Bytes>, Error>>>) -> bool {
        match frame {
            Poll::Ready(None) => return true,
            Poll::Ready(Some(Err(error))) => {
                if let Some(transfer) = &self.transfer {
                    transfer.broke(error.kind().label());
                }
                return true;
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some((transfer, data)) = self.transfer.as_ref().zip(frame.data_ref()) {
                    transfer.received(data);
                }
            }
            Poll::Pending => {}
        }
        if let Some(entry) = &self.entry {
            entry.polled(frame.is_pending());
        }
        false
    }
}
