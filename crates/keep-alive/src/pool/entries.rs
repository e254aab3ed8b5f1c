//! The connections that the engine decides about, by its names for them.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tollgate_admission::ResourceId;
use tollgate_core::CloseReason;

use crate::connection::conn::Conn;
use crate::connection::http2_sender::Http2Sender;
use crate::connection::sender::{self, Http1Sender, Sender};
use crate::pool::inner::Inner;

pub(crate) struct Entry {
    pub(crate) resource: ResourceId,
    pub(crate) conn: Arc<Conn>,
    /// `None` while a lease has it.
    pub(crate) sender: Option<Sender>,
    /// The source of the senders of further leases, for a multiplexed connection.
    pub(super) streams: Option<Http2Sender>,
}

/// An opened connection.
pub(crate) enum Opened {
    Http1(Http1Sender),
    Http2(Http2Sender, NonZeroUsize),
}

impl Inner {
    /// A connection was opened. Whoever it is granted to collects it after this lock.
    pub(crate) fn opened_locked(&mut self, conn: &Arc<Conn>, opened: Opened) {
        let (sender, streams, leases) = match opened {
            Opened::Http1(sender) => (sender::http1_sender(sender), None, NonZeroUsize::MIN),
            Opened::Http2(streams, leases) => {
                (sender::stream(streams.clone()), Some(streams), leases)
            }
        };
        // The cap that this transaction sets follows the protocol.
        self.is_http2 = conn.is_http2;
        let resource = self.engine.opened(conn.opened_at, leases);
        let index = resource.index();
        if self.conns.len() <= index {
            self.conns.resize_with(index + 1, || None);
        }
        self.conns[index] = Some(Entry {
            resource,
            conn: conn.clone(),
            sender: Some(sender),
            streams,
        });
        if conn.is_http2 {
            // However few leases it offers now, it may come to offer more.
            let (now, leases) = (conn.opened_at, leases.get());
            self.engine.credit_changed(resource, now, leases);
        }
        // Before its driver runs: without its name here a connection could not report its end, and
        // its place would never be free.
        let _set_once = conn.resource.set(resource);
    }

    pub(super) fn entry_locked(&mut self, resource: ResourceId) -> Option<&mut Entry> {
        let entry = self.conns.get_mut(resource.index())?.as_mut()?;
        // The index may be that of a later connection: a late report must not end it.
        (entry.resource == resource).then_some(entry)
    }

    /// A connection is to be closed: its sender, if no lease has it.
    pub(super) fn take_to_close(
        &mut self,
        resource: ResourceId,
        reason: CloseReason,
    ) -> Option<(Arc<Conn>, Option<Sender>, CloseReason)> {
        let entry = self.entry_locked(resource)?;
        // The entry stays until the socket is gone, and its place with it.
        Some((entry.conn.clone(), entry.sender.take(), reason))
    }

    pub(super) fn take_entry_locked(&mut self, resource: ResourceId) -> Option<Entry> {
        self.entry_locked(resource)?;
        self.closing.gone(resource);
        self.conns[resource.index()].take()
    }
}
