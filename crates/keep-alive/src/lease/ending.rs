//! How a lease ends: given back, parked until hyper has finished, or lost with its connection.

use http::Request;
use tokio::time::Instant;
use tollgate_admission::Returned;
use tollgate_core::CloseReason;

use super::{Lease, Stage};
use crate::erased::ErasedBody;
use crate::hint::KeepAliveHint;

impl Lease {
    /// Ends the lease of an exchange that broke, with what that says about the connection.
    pub(crate) fn failed(mut self, reason: CloseReason) {
        self.conn.close(reason);
        self.retire = Some(reason);
        self.give_back();
    }

    /// The response broke off or made no sense: that is why the connection ends, unless another reason
    /// is known.
    #[cold]
    pub(crate) fn broke(&mut self) {
        let known = self.conn.reason();
        self.retire = Some(known.unwrap_or(CloseReason::Error));
    }

    /// The caller is done with the response: gives the lease back, now if hyper has finished with the
    /// exchange (with the request's body too), else as soon as it has. The second time it does
    /// nothing.
    #[inline]
    pub(crate) fn end(&mut self, dropped_early: bool) {
        if !self.is_over() {
            self.end_now(dropped_early);
        }
    }

    fn end_now(&mut self, dropped_early: bool) {
        self.dropped_early = dropped_early;
        // Each is asked once: it may become ready, on another thread, between two questions, and a
        // connection that is thought lost is closed.
        let ready = self.sender.as_ref().is_some_and(|sender| sender.is_ready());
        let closed = || self.sender.as_ref().is_none_or(|sender| sender.is_closed());
        if ready || closed() {
            // One that has closed was not closed by the drop, which hyper hears of later.
            self.dropped_early &= ready;
            self.give_back_as(ready);
        } else {
            self.park();
        }
    }

    /// Leaves the lease where the driver finds it when hyper has finished; what stays here is over.
    #[cold]
    fn park(&mut self) {
        if self.is_stream() {
            self.give_back_mut();
            return;
        }
        if self.dropped_early {
            self.conn.suspect(Some(CloseReason::BodyDropped));
        }
        let parked = self.take();
        self.conn.parks_now();
        if let Some(lease) = self.conn.parked.park(parked, Self::is_settled) {
            lease.give_back();
        } else {
            self.origin.lease_parked();
        }
    }

    /// Leaves the lease with the request's body, if that is still on its way on a stream that goes on;
    /// `false` if not. What nobody wants any more is reset.
    fn park_with_upload(&mut self) -> bool {
        let upload = self.sender.as_ref().and_then(|sender| sender.upload());
        let Some(upload) = upload.filter(|upload| !upload.has_ended()).cloned() else {
            return false;
        };
        if self.stage == Stage::Unsent || self.is_dead() {
            return false;
        }
        if self.dropped_early || self.stage == Stage::Sent {
            upload.cancel();
        }
        if let Some(lease) = upload.park(self.take()) {
            lease.give_back();
        }
        true
    }

    /// Moves the lease elsewhere; what stays is over.
    fn take(&mut self) -> Self {
        let taken = Self {
            origin: self.origin.clone(),
            conn: self.conn.clone(),
            sender: self.sender.take(),
            ..*self
        };
        self.stage = Stage::Over;
        taken
    }

    /// hyper gives back a request that it has not sent: so does what watches its body.
    pub(crate) fn unwatch(&self, unsent: &mut Request<ErasedBody>) {
        let upload = self.sender.as_ref().and_then(|sender| sender.upload());
        if let Some(body) = upload.and_then(|upload| upload.reclaim()) {
            *unsent.body_mut() = body;
        }
    }

    /// The peer has refused a stream, so it gets none for a while and the request goes elsewhere.
    pub(crate) fn refused(&self) {
        self.conn.refused();
        if let Some(&resource) = self.conn.resource.get() {
            let now = Instant::now();
            self.origin
                .with(|inner| inner.engine.credit_changed(resource, now, 0));
        }
        self.conn.io.wake_driver();
    }

    /// Gives the lease back in whatever state the connection is.
    pub(crate) fn give_back(mut self) {
        self.give_back_mut();
    }

    #[cold]
    fn give_back_mut(&mut self) {
        if let (Stage::Sent, Some(sender)) = (self.stage, &mut self.sender) {
            sender.as_mut().forget();
        }
        if self.is_stream() && self.park_with_upload() {
            return;
        }
        let ready = self.sender.as_ref().is_some_and(|sender| match self.stage {
            // A new connection is ready when its driver has run; it takes one request before that.
            Stage::Unsent => !sender.is_closed(),
            _ => sender.is_ready(),
        });
        self.give_back_as(ready);
    }

    /// Gives the lease back; `ready` says that the connection takes another request.
    #[inline]
    fn give_back_as(&mut self, ready: bool) {
        let sender = self.sender.take();
        // First: a driver that ends now either sees it, or is seen.
        self.conn.io.exchange_ended();
        let reason = match self.retire {
            Some(reason) => Some(reason),
            None if self.conn.is_closing() || !ready => Some(self.reason_of_loss()),
            None => None,
        };
        self.stage = Stage::Over;
        let returned = match reason {
            Some(reason) => {
                self.conn.set_reason(reason);
                Returned::Retire(reason)
            }
            None if self.hint == KeepAliveHint::default() => Returned::reusable(),
            None => Returned::Reusable {
                idle_for: self.hint.idle_for(),
                remaining_uses: self.hint.remaining_uses(),
            },
        };
        let drained = self.dropped_early && reason.is_none();
        if drained {
            self.conn.suspect(None);
        }
        self.origin
            .give_back(&self.conn, sender, returned, self.granted_at, drained);
    }

    /// Why hyper gave the connection up, as far as this side knows.
    fn reason_of_loss(&self) -> CloseReason {
        if self.dropped_early {
            CloseReason::BodyDropped
        } else {
            self.conn.reason().unwrap_or(CloseReason::PeerEof)
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.stage {
            Stage::Over | Stage::Tunnel => {}
            Stage::Unsent => self.give_back_mut(),
            // hyper resets the stream when its future or its body is dropped.
            _ if self.is_stream() => self.give_back_mut(),
            Stage::Sent => {
                self.conn.close(CloseReason::Cancelled);
                self.retire = Some(CloseReason::Cancelled);
                self.give_back_mut();
            }
            // Only a pool that is being torn down drops a lease here: a body ends its own.
            Stage::Head => {
                self.conn.close(CloseReason::BodyDropped);
                self.retire = Some(CloseReason::BodyDropped);
                self.give_back_mut();
            }
        }
    }
}
