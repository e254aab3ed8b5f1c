//! Leaving an address, a few connections at a time.

use std::net::SocketAddr;

use tollgate_admission::ResourceState;
use tollgate_core::CloseReason;

use crate::conn::Conn;
use crate::origin_pool::{Entry, Inner, OriginPool};
use crate::service::KeepAlive;

impl KeepAlive {
    /// Retires at most `most` of the connections that the origins of `host` have to `addresses`:
    /// idle ones now, the others when their exchange is over. Returns how many others there are.
    ///
    /// `host` is as in [`Origin::host`](tollgate_core::Origin::host), lower case; a port of 0 stands
    /// for any. For when addresses have left a name's DNS answer, and their connections are to
    /// follow at a limited rate. With `most` at 0 it counts.
    pub fn retire_some(&self, host: &str, addresses: &[SocketAddr], most: usize) -> usize {
        let mut budget = most;
        let mut left = 0;
        for pool in self.all_origins() {
            if pool.origin.host() == host {
                left += pool.retire_some(addresses, &mut budget);
            }
        }
        left
    }
}

impl OriginPool {
    fn retire_some(&self, addresses: &[SocketAddr], budget: &mut usize) -> usize {
        self.with(|inner| {
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
    /// The places of the connections to these addresses that still take requests, idle ones first:
    /// those can leave at once.
    fn live_on_locked(&self, addresses: &[SocketAddr]) -> Vec<usize> {
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for (index, entry) in self.conns.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|entry| is_to(&entry.conn, addresses)) else {
                continue;
            };
            match self.engine.resource(entry.resource) {
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
