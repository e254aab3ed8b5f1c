//! The answer whose caller has gone before its head: the driver takes it in, or closes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Lease;
use crate::connection::parked::{Parked, Unread};

/// The most bytes of an answer that are taken in: more are not at hand at once, and cost more than a
/// connection.
const MOST: usize = 64 * 1024;

/// An exchange whose caller has gone while its answer was due soon. The connection's driver takes the
/// answer in, within bounds of time and of bytes, rather than close the connection for it.
pub(super) struct LateAnswer {
    // Before the lease: hyper drains what is at hand of it when it is dropped.
    incoming: Option<Incoming>,
    lease: Option<Lease>,
    bytes: usize,
    until: Pin<Box<Sleep>>,
}

impl Lease {
    /// Its caller has gone while its answer is due soon: parks the lease for the driver, which takes the
    /// answer in and drops it (see [`LateAnswer`]). `false` where closing is better.
    #[cold]
    pub(super) fn park_for_answer(&mut self) -> bool {
        let keeps =
            !self.left && self.is_short && !self.is_dead() && !self.conn.may_become_tunnel();
        if !keeps || self.origin.shared.is_stopped() {
            return false;
        }
        // Also where its answer is not waited for: the engine counts this caller next, and at the end
        // must not once more.
        self.left = true;
        let Some(until) = self.origin.caller_left(self.granted_at, self.waited) else {
            return false;
        };
        let parked: Box<dyn Parked> = Box::new(self.take());
        // Before the driver can have it, which takes the time from here.
        self.conn.parks_until(until);
        // Dropped, it closes the connection: the driver has ended meanwhile, and takes nothing any more.
        drop(self.conn.parked.park(parked, |lease| lease.is_dead()));
        // After it is parked: a driver woken before that would find nothing and sleep on.
        self.conn.io.wake_driver();
        true
    }
}

impl LateAnswer {
    /// Goes on with a lease in the middle of its exchange.
    pub(super) fn of(lease: Lease) -> Self {
        let until = lease.conn.parked_until().unwrap_or_else(Instant::now);
        Self {
            incoming: None,
            lease: Some(lease),
            bytes: 0,
            until: Box::pin(sleep_until(until)),
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(lease) = &mut self.lease {
            let Some(incoming) = &mut self.incoming else {
                match ready!(lease.poll_head(cx)) {
                    Ok(response) => {
                        lease.head_arrived(&response);
                        lease.conn.head_came(Instant::now());
                        self.incoming = Some(response.into_body());
                    }
                    Err(_) => self.lost(),
                }
                continue;
            };
            // What remains is not worth the time where the connection is not kept anyway.
            if incoming.is_end_stream() || lease.retire.is_some() {
                lease.end(false);
                break;
            }
            match ready!(Pin::new(incoming).poll_frame(cx)) {
                Some(Ok(frame)) => self.bytes += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) => lease.broke(),
                None => lease.end(false),
            }
            if lease.is_given_back() || self.bytes > MOST {
                break;
            }
        }
        Poll::Ready(())
    }

    /// The exchange failed, which no caller hears.
    #[cold]
    fn lost(&mut self) {
        if let Some(lease) = self.lease.take() {
            let reason = lease.reason_of_loss();
            lease.failed(reason);
        }
    }
}

impl Unread for LateAnswer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The answer before the clock: one that is whole by then keeps its connection.
        if self.poll_answer(cx).is_pending() {
            ready!(self.until.as_mut().poll(cx));
        }
        // What has not come to its end closes the connection.
        self.incoming = None;
        self.lease = None;
        Poll::Ready(())
    }
}
