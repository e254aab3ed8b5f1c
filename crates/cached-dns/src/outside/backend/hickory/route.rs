//! The search for a global IPv6 route.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::lock::lock;

/// The time that the finding is believed.
const BELIEVED: Duration = Duration::from_secs(10);

/// Returns true if there is a route for a global IPv6 address, and a global address to send from:
/// what RFC 6724 would find out. `connect` on a UDP socket sends nothing.
pub(super) fn has_ipv6_route() -> bool {
    /// Guards plain values.
    static FOUND: Mutex<Option<(Instant, bool)>> = Mutex::new(None);
    let now = Instant::now();
    let mut found = lock(&FOUND);
    match *found {
        Some((at, has)) if now.saturating_duration_since(at) < BELIEVED => has,
        _ => {
            // Under the lock: those that come meanwhile want the same finding, and none of its
            // calls blocks.
            let has = probe();
            *found = Some((now, has));
            has
        }
    }
}

fn probe() -> bool {
    // A documentation prefix may be unrouted on purpose; this is in the range of global unicast.
    let far = Ipv6Addr::new(0x2001, 0x0500, 0, 0, 0, 0, 0, 1);
    let source = || {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.connect((far, 53))?;
        socket.local_addr()
    };
    match source().map(|addr| addr.ip()) {
        // 2000::/3 is what is routed globally.
        Ok(IpAddr::V6(ip)) => ip.segments()[0] >> 13 == 1,
        _ => false,
    }
}
