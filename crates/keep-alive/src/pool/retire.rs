//! Connections that are retired for their address, a few at a time; or for HTTP/2, all at once.

use std::net::SocketAddr;
use std::sync::Arc;

use tollgate_admission::ResourceState;
use tollgate_core::CloseReason;

use crate::connection::conn::Conn;
use crate::options::protocol::Protocol;
use crate::pool::entries::Entry;
use crate::pool::inner::Inner;
use crate::pool::origin_pool::OriginPool;

impl OriginPool {
    /// The peer requires HTTP/1.1: connections of HTTP/2 take no more requests, and the next dials ask for
    /// HTTP/1.1. Returns false if it cannot be had: by prior knowledge, or since the connector agreed on
    /// HTTP/2 when it was asked.
    pub(crate) fn require_http1(self: &Arc<Self>) -> bool {
        let may_change = self.shared.config.protocol == Protocol::Auto;
        let moves = may_change && self.http2.require_http1(&self.origin);
        // After it is noted: the dials that follow from this transaction ask for HTTP/1.1.
        if moves {
            self.touch(Inner::leave_http2_locked);
        }
        moves
    }

    /// Retires at most `budget` of the connections to these addresses, idle ones first; returns how many
    /// are left.
    pub(crate) fn retire_some(
        self: &Arc<Self>,
        addresses: &[SocketAddr],
        budget: &mut usize,
    ) -> usize {
        self.touch(|inner| {
            let on_them = inner.live_on_locked(addresses);
            let now = on_them.len().min(*budget);
            for &index in &on_them[..now] {
                if let Some(Entry { resource, .. }) = inner.conns[index] {
                    inner.engine.retire(resource, CloseReason::AddressGone);
                }
            }
            *budget -= now;
            on_them.len() - now
        })
    }
}

impl Inner {
    fn leave_http2_locked(&mut self) {
        self.protocol_changes_locked(false);
        for entry in self.conns.iter().flatten() {
            if entry.conn.is_http2 {
                self.engine.retire(entry.resource, CloseReason::PeerClose);
            }
        }
    }

    /// The places of the connections to these addresses that still take requests, idle ones first:
    /// those can leave at once.
    fn live_on_locked(&self, addresses: &[SocketAddr]) -> Vec<usize> {
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for (index, entry) in self.conns.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|entry| is_to(&entry.conn, addresses)) else {
                continue;
            };
            match self.engine.resource(entry.resource) {
                // One that is on its way out would use up the budget for nothing.
                Some(resource) if resource.state != ResourceState::Live => {}
                Some(resource) if resource.idle_since.is_some() => idle.push(index),
                Some(_) => busy.push(index),
                None => {}
            }
        }
        idle.extend(busy);
        idle
    }
}

fn is_to(conn: &Conn, addresses: &[SocketAddr]) -> bool {
    let is_it = |remote: SocketAddr, address: &SocketAddr| {
        remote.ip() == address.ip() && (address.port() == 0 || remote.port() == address.port())
    };
    let remote = conn.dial.remote;
    remote.is_some_and(|remote| addresses.iter().any(|address| is_it(remote, address)))
}
