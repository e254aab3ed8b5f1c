//! The connections that the engine decides about, by its names for them.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tollgate_admission::ResourceId;

use super::Inner;
use crate::conn::Conn;
use crate::sender::{self, OneByOne, Sender};
use crate::streams::Streams;

pub(crate) struct Entry {
    pub(crate) resource: ResourceId,
    pub(crate) conn: Arc<Conn>,
    /// `None` while a lease has it.
    pub(crate) sender: Option<Sender>,
    /// What the senders of further leases are made of, for a connection that has many.
    pub(super) streams: Option<Streams>,
}

/// What was opened.
pub(crate) enum Opened {
    OneByOne(OneByOne),
    Streams(Streams, NonZeroUsize),
}

impl Inner {
    /// A connection was opened. Whoever it is granted to collects it after this lock.
    pub(crate) fn opened_locked(&mut self, conn: &Arc<Conn>, opened: Opened) {
        let (sender, streams, leases) = match opened {
            Opened::OneByOne(sender) => (sender::one_by_one(sender), None, NonZeroUsize::MIN),
            Opened::Streams(streams, leases) => {
                (sender::stream(streams.clone()), Some(streams), leases)
            }
        };
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
        if conn.has_streams {
            // However few leases it offers now, it may come to offer more.
            let (now, leases) = (conn.opened_at, leases.get());
            self.engine.credit_changed(resource, now, leases);
        }
        let _set_once = conn.resource.set(resource);
    }

    pub(super) fn entry_locked(&mut self, resource: ResourceId) -> Option<&mut Entry> {
        let entry = self.conns.get_mut(resource.index())?.as_mut()?;
        (entry.resource == resource).then_some(entry)
    }

    /// A connection is to be closed: its sender, if no lease has it.
    pub(super) fn close_locked(
        &mut self,
        resource: ResourceId,
    ) -> (Option<Arc<Conn>>, Option<Sender>) {
        self.entry_locked(resource).map_or((None, None), |entry| {
            (Some(entry.conn.clone()), entry.sender.take())
        })
    }

    pub(super) fn take_entry_locked(&mut self, resource: ResourceId) -> Option<Entry> {
        self.entry_locked(resource)?;
        self.conns[resource.index()].take()
    }
}
