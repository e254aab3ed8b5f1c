//! A look at a stream's socket by `MSG_PEEK`.

use std::sync::{Arc, Mutex, OnceLock};

use tollgate_core::SocketPeek;
use tollgate_core::lock::lock;

#[cfg(unix)]
use std::os::fd::RawFd;
#[cfg(not(unix))]
type RawFd = i32;

/// The looks at one stream's socket, which end with the stream.
///
/// Dropped before the stream, since from then on its descriptor may be another socket's.
#[derive(Debug, Default)]
pub(crate) struct Looks(OnceLock<Arc<Descriptor>>);

/// The descriptor, for as long as the stream has it.
///
/// The mutex keeps the stream from closing it in the middle of a look. Nothing else happens under it but
/// one system call that does not block.
type Descriptor = Mutex<Option<RawFd>>;

impl Looks {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// A look at the socket with this descriptor, which is the stream's.
    #[cfg(unix)]
    pub(crate) fn at(&self, descriptor: RawFd) -> SocketPeek {
        // One for all looks at this stream, which ends them together.
        let shared = self
            .0
            .get_or_init(|| Arc::new(Mutex::new(Some(descriptor))));
        let shared = shared.clone();
        SocketPeek::new(move || imp::look(*lock(&shared)))
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        if let Some(shared) = self.0.get() {
            // Waits for a look that is under way: from here on the descriptor may be closed.
            *lock(shared) = None;
        }
    }
}

#[cfg(unix)]
mod imp {
    use std::os::fd::RawFd;

    use nix::errno::Errno;
    use nix::sys::socket::{MsgFlags, recv};
    use tollgate_core::SocketState;

    pub(super) fn look(descriptor: Option<RawFd>) -> SocketState {
        let Some(descriptor) = descriptor else {
            return SocketState::Closed;
        };
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        // One byte, not none: to an empty buffer 0 is also the answer of an open socket.
        match recv(descriptor, &mut [0], flags) {
            Ok(0) => SocketState::Closed,
            Ok(_) => SocketState::Readable,
            Err(Errno::EAGAIN | Errno::EINTR) => SocketState::Silent,
            Err(_) => SocketState::Closed,
        }
    }
}
