//! Retiring the connections to an address, from outside.

use std::net::SocketAddr;

use crate::face::service::KeepAlive;

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
        for pool in self.origins_of(host) {
            left += pool.retire_some(addresses, &mut budget);
        }
        left
    }
}
