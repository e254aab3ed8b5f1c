//! The pools whose connections follow their names: that of calls, and that of exchanges that last.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use tollgate_keep_alive::{HostsInUse, KeepAlive};

use crate::client::Shared;

#[derive(Clone, Copy)]
pub(super) struct Pools<'a> {
    calls: &'a KeepAlive,
    long_lived: Option<&'a KeepAlive>,
}

/// The host names to which any of them has connections.
pub(super) struct Hosts {
    pub(super) calls: HostsInUse,
    long_lived: Option<HostsInUse>,
}

impl<'a> Pools<'a> {
    pub(super) fn of(client: &'a Shared) -> Self {
        Self {
            calls: &client.pool,
            long_lived: client.long_lived.as_ref(),
        }
    }

    pub(super) fn hosts_in_use(self) -> Hosts {
        Hosts {
            calls: self.calls.hosts_in_use(),
            long_lived: self.long_lived.map(KeepAlive::hosts_in_use),
        }
    }

    /// Retires at most `most` connections in all, those of calls first; returns how many are left.
    pub(super) fn retire_some(self, host: &str, addresses: &[SocketAddr], most: usize) -> usize {
        let Some(long_lived) = self.long_lived else {
            return self.calls.retire_some(host, addresses, most);
        };
        // Counted first: retiring returns how many remain, and the difference is what it took of
        // `most`.
        let calls = self.calls.retire_some(host, addresses, 0);
        let left = self.calls.retire_some(host, addresses, most);
        let rest = most.saturating_sub(calls.saturating_sub(left));
        left + long_lived.retire_some(host, addresses, rest)
    }
}

impl Hosts {
    /// Returns the next name that came into use for an exchange that lasts; pending for ever without a
    /// pool of such.
    ///
    /// Cancel safe, as [`HostsInUse::next`].
    pub(super) async fn next_long_lived(&self) -> Option<Arc<str>> {
        match &self.long_lived {
            Some(hosts) => hosts.next().await,
            None => pending().await,
        }
    }

    /// Returns true if a name is in use.
    pub(super) fn contains(&self, host: &str) -> bool {
        let long_lived = self.long_lived.as_ref();
        self.calls.contains(host) || long_lived.is_some_and(|hosts| hosts.contains(host))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::num::NonZeroUsize;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use tokio::time::timeout;
    use tollgate_core::Origin;
    use tollgate_keep_alive::KeepAliveLayer;
    use tollgate_testing::{Connector, Reply, Upstream};
    use tower_layer::Layer;

    use super::*;

    const HOST: &str = "billing.internal";

    fn pool(upstream: &Upstream) -> KeepAlive {
        let layer = KeepAliveLayer::new().max_connections_per_origin(NonZeroUsize::MIN);
        layer.layer(Connector::memory(upstream))
    }

    /// A connection of this pool brings the name into use.
    async fn open(pool: &KeepAlive, hosts: &Hosts, host: &str) {
        let origin: Origin = format!("http://{host}").parse().unwrap();
        pool.warm(&origin, 1).unwrap();
        while !hosts.contains(host) {
            tokio::task::yield_now().await;
        }
    }

    fn is_waiting(wait: Pin<&mut impl Future<Output = Option<Arc<str>>>>) -> bool {
        matches!(
            wait.poll(&mut Context::from_waker(Waker::noop())),
            Poll::Pending
        )
    }

    /// The watch drops its wait at each other piece of news.
    #[tokio::test(start_paused = true)]
    async fn a_cancelled_wait_loses_no_host_name() {
        let upstream = Upstream::start(|_| Reply::ok("")).await;
        let (calls, long_lived) = (pool(&upstream), pool(&upstream));
        let pools = Pools {
            calls: &calls,
            long_lived: Some(&long_lived),
        };
        let hosts = pools.hosts_in_use();
        let mut cancelled = Box::pin(hosts.next_long_lived());
        assert!(is_waiting(cancelled.as_mut()));
        // It waits behind the first, which gets the wakeup of the only name and does not use it.
        let mut behind = pin!(hosts.next_long_lived());
        assert!(is_waiting(behind.as_mut()));
        open(&long_lived, &hosts, HOST).await;
        drop(cancelled);
        let next = timeout(Duration::from_secs(1), behind).await.unwrap();
        assert_eq!(next.as_deref(), Some(HOST));
        assert!(is_waiting(pin!(hosts.next_long_lived())), "only once");
        assert!(is_waiting(pin!(hosts.calls.next())), "no name of a call");

        // No wait holds a name from one poll to the next, where a drop would lose it.
        open(&long_lived, &hosts, "users.internal").await;
        assert!(!is_waiting(pin!(hosts.next_long_lived())));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_pool_for_them_no_exchange_lasts() {
        let upstream = Upstream::start(|_| Reply::ok("")).await;
        let calls = pool(&upstream);
        let pools = Pools {
            calls: &calls,
            long_lived: None,
        };
        let hosts = pools.hosts_in_use();
        open(&calls, &hosts, HOST).await;
        let lasting = timeout(Duration::from_secs(1), hosts.next_long_lived());
        lasting.await.unwrap_err();
        assert_eq!(hosts.calls.next().await.as_deref(), Some(HOST));
    }
}
