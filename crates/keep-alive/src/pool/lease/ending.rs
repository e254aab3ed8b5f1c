//! The end of a lease: given back, parked until hyper has finished, or lost with its connection.

use http::Request;
use tokio::time::Instant;
use tollgate_admission::Returned;
use tollgate_core::{CloseReason, ExchangeEnd};

use super::late_answer::LateAnswer;
use super::{Lease, Stage};
use crate::connection::erased::ErasedBody;
use crate::connection::hint::KeepAliveHint;
use crate::connection::http2;
use crate::connection::http2::wire::Suspect;
use crate::connection::parked::{Parked, Unread};
use crate::connection::port::Port;
use crate::connection::request;
use crate::pool::give_back::Exchange;

impl Lease {
    /// Ends the lease of an exchange that broke, with its consequence for the connection.
    pub(crate) fn failed(mut self, reason: CloseReason) {
        self.conn.close(reason);
        self.retire = Some(reason);
        self.give_back();
    }

    /// Ends the lease of a connection that was found dead, or not driven, before anything was sent on it.
    /// Those that have idled for longer, or run where it does, are likely no better: they are closed
    /// rather than tried one after the other.
    #[cold]
    pub(crate) fn found_dead(self) {
        let (origin, granted_at) = (self.origin.clone(), self.granted_at);
        let reason = self.conn.reason().unwrap_or(CloseReason::PeerEof);
        self.failed(reason);
        origin.retire_idle_until(granted_at, reason);
    }

    /// The response broke off or made no sense: that is why the connection ends, unless another reason
    /// is known. A stream ends alone.
    #[cold]
    pub(crate) fn broke(&mut self) {
        if self.is_stream() {
            return;
        }
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
        // Before the questions: the reason of a loss depends on it.
        self.dropped_early = dropped_early;
        // Each is asked once: it may become ready, on another thread, between two questions, and a
        // connection that is thought lost is closed.
        let ready = self.sender.as_ref().is_some_and(|sender| sender.is_ready());
        let closed = || self.sender.as_ref().is_none_or(|sender| sender.is_closed());
        if self.retire.is_some() && !self.is_stream() {
            // The answer is whole, or no longer read: what is left of the upload keeps no place.
            self.give_back_as(false);
        } else if ready || closed() {
            // One that has closed was not closed by the drop, which hyper hears of later.
            self.dropped_early &= ready;
            self.give_back_as(ready);
        } else {
            self.park();
        }
    }

    /// Parks the lease where the driver finds it when hyper has finished; what stays here is over.
    #[cold]
    fn park(&mut self) {
        if self.is_stream() {
            self.give_back_mut();
            return;
        }
        if self.dropped_early {
            self.conn.suspect(Some(CloseReason::BodyDropped));
        }
        // What stays here is over before the driver can have the rest, and give it back.
        let parked: Box<dyn Parked> = Box::new(self.take());
        // Before the driver can take it: what has come back is not about to. And before the caller knows
        // of the end, whose next request is not to dial.
        self.origin.lease_parks(&self.conn);
        if let Some(lease) = self.conn.parked.park(parked, |lease| lease.is_settled()) {
            lease.give_back();
        }
    }

    /// Hands the lease to the request's body, if that is still on its way on a stream that goes on;
    /// `false` if not. A stream without a reader is reset.
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
        if let Some(lease) = upload.park(Box::new(self.take())) {
            lease.give_back();
        }
        true
    }

    /// Moves the lease elsewhere; what stays is over.
    pub(super) fn take(&mut self) -> Self {
        let taken = Self {
            origin: self.origin.clone(),
            conn: self.conn.clone(),
            sender: self.sender.take(),
            ..*self
        };
        // The duty to give back has gone with the sender: the drop of what stays does nothing.
        self.stage = Stage::Over;
        taken
    }

    /// hyper gives back a request that it has not sent on a stream: so does what watches its body, and
    /// it is as it was prepared.
    pub(crate) fn unwatch(&self, unsent: &mut Request<ErasedBody>) {
        let upload = self.sender.as_ref().and_then(|sender| sender.upload());
        if let Some(body) = upload.and_then(|upload| upload.reclaim()) {
            *unsent.body_mut() = body;
        }
        request::read_http2(unsent, &self.origin.uri);
    }

    /// The stream was lost with its connection, which takes no more from now on: its driver may not have
    /// run yet, and the next attempt is not to meet it again.
    #[cold]
    pub(crate) fn lost_connection(&self, error: &hyper::Error) {
        if self.conn.is_closing() {
            return;
        }
        self.origin.retires(&self.conn, http2::reason_of(error));
    }

    /// The peer has refused a stream, so it gets none for a while and the request goes elsewhere.
    pub(crate) fn refused(&self) {
        // Noted before the wake: a driver that did not know of it would offer its streams again.
        self.conn.refused();
        self.take_no_streams();
    }

    /// Its caller has given a stream up: if nothing came since it was sent, the path may be dead, and
    /// newcomers go elsewhere until something comes.
    #[cold]
    fn given_up(&self) {
        let wire = self.conn.wire.get();
        if wire.is_some_and(|wire| wire.lock().given_up(Instant::now()) != Suspect::No) {
            self.take_no_streams();
        }
    }

    /// Tells the engine at once, whose next demand may come before the driver runs.
    fn take_no_streams(&self) {
        // In this order: a driver that takes the note and offers its streams before the 0 believes them
        // known, and the 0 stays.
        self.origin.offers(&self.conn, 0);
        self.conn.told();
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

    /// Gives the lease back; `ready` means that the connection takes another request.
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
        // It is read off the stage, which is over next.
        let exchange = self.exchange();
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
        let drained = (self.dropped_early || self.left) && reason.is_none();
        if drained {
            // Before the next lease: else this drop would be the reason of whatever end comes later.
            self.conn.suspect(None);
        }
        self.origin.give_back(
            &self.conn,
            sender,
            returned,
            self.granted_at,
            exchange,
            drained,
        );
    }

    /// What the queue learns from how the exchange ended.
    #[inline]
    fn exchange(&self) -> Exchange {
        let closes = matches!(
            self.retire,
            None | Some(CloseReason::PeerClose | CloseReason::MaxRequests)
        );
        match self.stage {
            // First: the queue learnt of this caller when it left, and counts it once.
            _ if self.left => Exchange::Other(ExchangeEnd::Left),
            Stage::Head if closes && !self.dropped_early => Exchange::Whole,
            Stage::Sent if matches!(self.retire, None | Some(CloseReason::Cancelled)) => {
                Exchange::Left(self.waited)
            }
            Stage::Unsent => Exchange::Other(ExchangeEnd::Unused),
            _ if self.dropped_early || self.retire == Some(CloseReason::BodyDropped) => {
                Exchange::Other(ExchangeEnd::Left)
            }
            _ => Exchange::Other(ExchangeEnd::Broken),
        }
    }

    /// Why hyper gave the connection up, as far as this side knows.
    pub(super) fn reason_of_loss(&self) -> CloseReason {
        if self.dropped_early {
            CloseReason::BodyDropped
        } else {
            self.conn.reason().unwrap_or(CloseReason::PeerEof)
        }
    }
}

impl Parked for Lease {
    fn is_settled(&self) -> bool {
        let sender = self.sender.as_ref();
        sender.is_none_or(|sender| sender.is_ready() || sender.is_closed())
    }

    fn is_dead(&self) -> bool {
        self.is_dead()
    }

    fn is_of_driver(&self) -> bool {
        (self.left && self.stage == Stage::Sent) || self.is_settled()
    }

    fn give_back(mut self: Box<Self>) {
        self.give_back_mut();
    }

    fn take_answer_in(self: Box<Self>) -> Option<Box<dyn Unread>> {
        if self.stage == Stage::Sent {
            return Some(Box::new(LateAnswer::of(*self)));
        }
        self.give_back();
        None
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let stage = self.stage;
        match stage {
            Stage::Over | Stage::Tunnel => {}
            Stage::Unsent => self.give_back_mut(),
            // hyper resets the stream when its future or its body is dropped.
            stage if self.is_stream() => {
                if stage == Stage::Sent {
                    // Before the lease is free: the next waiter would be granted a stream on the path
                    // in doubt.
                    self.given_up();
                }
                self.give_back_mut();
            }
            Stage::Sent if self.park_for_answer() => {}
            Stage::Sent => {
                self.conn.close(CloseReason::Cancelled);
                self.retire = Some(CloseReason::Cancelled);
                self.give_back_mut();
            }
            // A body ends its own: here an answer is dropped that no caller waits for, or a pool that is
            // being torn down.
            Stage::Head => {
                self.conn.close(CloseReason::BodyDropped);
                self.retire = Some(CloseReason::BodyDropped);
                self.give_back_mut();
            }
        }
    }
}
