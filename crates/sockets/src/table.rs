//! The table of the sockets of a network namespace.

use std::net::SocketAddr;

use crate::destination::{Counts, Destination, Listeners};
use crate::{Ports, SocketsError, TcpState};

/// More sockets than this are left out: a reading of them would be 64 MiB.
pub(crate) const MAX_SOCKETS: usize = 1 << 20;

/// One TCP socket of the network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Socket {
    /// The local end; an IPv4 address that is mapped into IPv6 is written as IPv4.
    pub local: SocketAddr,
    /// The other end; port 0 for a listener.
    pub remote: SocketAddr,
    /// The state.
    pub state: TcpState,
    /// The number that `/proc/PID/fd` shows for it; 0 where no process holds it, as in `TIME_WAIT`.
    pub inode: u64,
}

impl Socket {
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr, state: TcpState, inode: u64) -> Self {
        Self {
            local: canonical(local),
            remote: canonical(remote),
            state,
            inode,
        }
    }
}

/// A socket that listens for both families has peers of IPv4 in the table of IPv6.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// The way that a reading was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Source {
    /// The kernel's `sock_diag` over netlink.
    SockDiag,
    /// The text of `/proc/net/tcp` and `/proc/net/tcp6`, which costs several times as much.
    Proc,
}

/// One reading of the TCP sockets of a network namespace, those of all its processes.
///
/// A process and the containers that share its network share their local ports, so this is the view
/// in which ports run out. Sockets that open or close during the reading may be in it or not.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Sockets {
    /// Every socket, in no order; the first 1,048,576 of them.
    pub all: Vec<Socket>,
    /// The way that they were read.
    pub source: Source,
}

impl Sockets {
    /// Reads the sockets of this process's namespace: by `sock_diag`, and where that is refused, as
    /// in some sandboxes, from `/proc`. Needs no privilege.
    ///
    /// It blocks while the kernel walks its table: 0.15 ms for a few sockets, about 14 ms for 20,000.
    /// From asynchronous code call it inside `spawn_blocking`.
    ///
    /// # Errors
    ///
    /// If this is not Linux, or both ways are refused.
    pub fn read() -> Result<Self, SocketsError> {
        Self::read_by(Source::SockDiag).or_else(|_| Self::read_by(Source::Proc))
    }

    /// Reads in one way, without a fallback.
    ///
    /// # Errors
    ///
    /// If this is not Linux, or that way is refused.
    pub fn read_by(source: Source) -> Result<Self, SocketsError> {
        imp::read(source)
    }

    /// Reads the sockets of another process's namespace, from `/proc` if it is not this one.
    ///
    /// # Errors
    ///
    /// If this is not Linux, the process is gone, or belongs to another user.
    pub fn of_namespace(pid: u32) -> Result<Self, SocketsError> {
        imp::of_namespace(pid)
    }

    /// The state of one connection, by its two ends; `None` if the kernel does not know it, or has
    /// forgotten it. One question to the kernel, about 10 µs.
    ///
    /// # Errors
    ///
    /// If this is not Linux, or `sock_diag` is refused.
    pub fn state(local: SocketAddr, remote: SocketAddr) -> Result<Option<TcpState>, SocketsError> {
        imp::state(local, remote)
    }

    /// The number of sockets in each state.
    pub fn counts(&self) -> Counts {
        self.all.iter().map(|socket| socket.state).collect()
    }

    /// The sockets to `remote` and the local ports that they take.
    pub fn destination(&self, remote: SocketAddr, ports: &Ports) -> Destination {
        Destination::of(self, canonical(remote), ports)
    }

    /// Every destination of an outgoing connection, with the most local ports taken first.
    ///
    /// A connection whose local port is a listener's came in, and is left out.
    pub fn destinations(&self, ports: &Ports) -> Vec<Destination> {
        Destination::all(self, ports)
    }

    /// The sockets without those that listen and those that came in through them.
    pub fn outgoing(&self) -> impl Iterator<Item = &Socket> {
        let listeners = Listeners::of(self);
        let out =
            move |socket: &&Socket| socket.state != TcpState::Listen && !listeners.took_in(socket);
        self.all.iter().filter(out)
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::net::SocketAddr;

    use super::{Sockets, Source};
    use crate::{SocketsError, TcpState, proc_net, sock_diag};

    const WHAT: &str = "the table of TCP sockets";

    pub(super) fn read(source: Source) -> Result<Sockets, SocketsError> {
        let all = match source {
            Source::SockDiag => sock_diag::read(),
            Source::Proc => proc_net::read("/proc/net"),
        };
        let all = all.map_err(|error| SocketsError::unreadable(WHAT, error))?;
        Ok(Sockets { all, source })
    }

    pub(super) fn of_namespace(pid: u32) -> Result<Sockets, SocketsError> {
        let unreadable = |error: io::Error| SocketsError::unreadable(WHAT, error);
        let theirs = std::fs::read_link(format!("/proc/{pid}/ns/net")).map_err(unreadable)?;
        if std::fs::read_link("/proc/self/ns/net").is_ok_and(|ours| ours == theirs) {
            // `sock_diag` answers for this process's namespace alone, and faster than the text.
            return Sockets::read();
        }
        let all = proc_net::read(&format!("/proc/{pid}/net")).map_err(unreadable)?;
        let source = Source::Proc;
        Ok(Sockets { all, source })
    }

    pub(super) fn state(
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Option<TcpState>, SocketsError> {
        let state = sock_diag::state(local, remote);
        state.map_err(|error| SocketsError::unreadable("the state of a socket", error))
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::net::SocketAddr;

    use super::{Sockets, Source};
    use crate::{SocketsError, TcpState};

    const WHAT: &str = "the table of TCP sockets";

    pub(super) fn read(_: Source) -> Result<Sockets, SocketsError> {
        Err(SocketsError::unsupported(WHAT))
    }

    pub(super) fn of_namespace(_: u32) -> Result<Sockets, SocketsError> {
        Err(SocketsError::unsupported(WHAT))
    }

    pub(super) fn state(_: SocketAddr, _: SocketAddr) -> Result<Option<TcpState>, SocketsError> {
        Err(SocketsError::unsupported("the state of a socket"))
    }
}
