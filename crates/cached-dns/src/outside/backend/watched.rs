//! Files that are read again when they change.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::time::Instant;
use tollgate_core::lock::lock;

use crate::values::error::Basis;

/// The least interval between two looks at the file.
const EVERY: Duration = Duration::from_secs(5);
/// The most that is read of a file; a hosts file that blocks advertisements has a few megabytes.
const MAX_BYTES: u64 = 16 << 20;

/// Makes a value of the file's bytes; `None` keeps the old value.
type Parse<T> = dyn Fn(&[u8]) -> Option<T> + Send + Sync;

/// A file and what was made of it. Clones share it.
pub(super) struct Watched<T>(Arc<Shared<T>>);

struct Shared<T> {
    path: PathBuf,
    /// `None` where only the change of the file counts.
    parse: Option<Box<Parse<T>>>,
    /// Grows with each change of the value.
    generation: AtomicU64,
    /// Guards plain values; nothing is read or parsed under it.
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    stamp: Option<Stamp>,
    /// The stamp was the same at the look before: a write within the same tick of the file
    /// system's clock as the last read would go unseen otherwise.
    settled: bool,
    looked: Option<Instant>,
}

/// The marks that change when a file does. A file that is replaced by one of the same length and
/// time has another inode; one that is written to and set back has another time of change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    /// Device, inode, and the time of the last change in seconds and nanoseconds.
    identity: (u64, u64, i64, i64),
}

impl Watched<()> {
    /// A file of which only the changes count.
    pub(super) fn unread(path: PathBuf) -> Self {
        let stamp = read_if_changed(&path, None, false).ok();
        Self::new(path, (), stamp.map(|(stamp, _)| stamp), None)
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the file now. `default` is the value of a file that is missing or makes no sense.
    ///
    /// It is read here and not at the first use: a value that was never read is no value, and what
    /// is asked for in the meantime would be answered without it.
    #[cfg(feature = "hickory")]
    pub(super) fn read(
        path: PathBuf,
        default: impl FnOnce() -> T,
        parse: impl Fn(&[u8]) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        let read = read_if_changed(&path, None, true).ok();
        let (stamp, bytes) = read.map_or((None, None), |(stamp, bytes)| (Some(stamp), bytes));
        let value = bytes.and_then(|bytes| parse(&bytes));
        let value = value.unwrap_or_else(default);
        Self::new(path, value, stamp, Some(Box::new(parse)))
    }

    fn new(path: PathBuf, value: T, stamp: Option<Stamp>, parse: Option<Box<Parse<T>>>) -> Self {
        Self(Arc::new(Shared {
            path,
            parse,
            generation: AtomicU64::new(0),
            state: Mutex::new(State {
                value: Arc::new(value),
                stamp,
                settled: false,
                looked: None,
            }),
        }))
    }

    /// The value, after a look at the file if the last one is some time ago. The caller that looks
    /// waits for it, on a thread that may block; all others get the value that there is.
    ///
    /// # Cancel safety
    ///
    /// A look that has begun goes on, and its result counts.
    #[cfg(feature = "hickory")]
    pub(super) async fn current(&self) -> Arc<T> {
        if self.0.claim_look() {
            let shared = Arc::clone(&self.0);
            drop(tokio::task::spawn_blocking(move || shared.reread()).await);
        }
        Arc::clone(&self.0.locked().value)
    }

    pub(super) fn basis(&self) -> Arc<dyn Basis> {
        Arc::clone(&self.0) as Arc<dyn Basis>
    }
}

impl<T> Shared<T> {
    /// Returns true if it is time to look, which it then is not for others.
    fn claim_look(&self) -> bool {
        let now = Instant::now();
        let mut state = self.locked();
        let is_due = state.looked.is_none_or(|looked| now >= looked + EVERY);
        if is_due {
            // Before the look, not after it: those that come meanwhile go on with the value there
            // is.
            state.looked = Some(now);
        }
        is_due
    }

    fn reread(&self) {
        let (stamp, settled) = {
            let state = self.locked();
            (state.stamp, state.settled)
        };
        // A stamp that has not settled is no reason not to read.
        let old = stamp.filter(|_| settled);
        let Ok((new, bytes)) = read_if_changed(&self.path, old, self.parse.is_some()) else {
            // Unreadable, as for a moment when it is replaced: the old value stays.
            return;
        };
        let value = match (bytes, &self.parse) {
            (Some(bytes), Some(parse)) => parse(&bytes).map(Arc::new),
            _ => None,
        };
        let is_changed = stamp != Some(new);
        let old = {
            let mut state = self.locked();
            state.settled = !is_changed;
            state.stamp = Some(new);
            value.map(|value| std::mem::replace(&mut state.value, value))
        };
        // With the lock open: it may be a table of megabytes.
        drop(old);
        if is_changed {
            // After the value: who sees the new number finds the new value under the lock.
            self.generation.fetch_add(1, Relaxed);
        }
    }

    fn locked(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

impl<T: Send + Sync + 'static> Basis for Shared<T> {
    fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    fn look(self: Arc<Self>) {
        // Claimed last: a look that no thread carries out would put off the next one.
        if let Ok(runtime) = Handle::try_current()
            && self.claim_look()
        {
            drop(runtime.spawn_blocking(move || self.reread()));
        }
    }
}

fn read_if_changed(
    path: &Path,
    old: Option<Stamp>,
    wants_bytes: bool,
) -> io::Result<(Stamp, Option<Vec<u8>>)> {
    let file = File::open(path)?;
    // Of the file that is open, and before it is read: what is written meanwhile changes the next
    // stamp.
    let stamp = Stamp::of(&file.metadata()?);
    if old == Some(stamp) || !wants_bytes {
        return Ok((stamp, None));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok((stamp, Some(bytes)))
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            len: metadata.len(),
            identity: identity(metadata),
        }
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (
        metadata.dev(),
        metadata.ino(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

#[cfg(not(unix))]
const fn identity(_: &Metadata) -> (u64, u64, i64, i64) {
    (0, 0, 0, 0)
}
