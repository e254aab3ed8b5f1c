//! A file that is read again when it changes.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::builder::HickoryError;

/// How often the file is looked at, at most.
const EVERY: Duration = Duration::from_secs(5);
/// What is read of a file; a hosts file that blocks advertisements has a few megabytes.
const MAX_BYTES: u64 = 16 << 20;

type Parse<T> = Arc<dyn Fn(&[u8]) -> Option<T> + Send + Sync>;

pub(super) struct Watched<T> {
    path: PathBuf,
    parse: Parse<T>,
    /// Guards plain values; nothing is read or parsed under it.
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    stamp: Option<Stamp>,
    looked: Option<Instant>,
}

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// `value` until the file was looked at for the first time.
    pub(super) fn lazy(path: PathBuf, value: T, parse: fn(&[u8]) -> T) -> Self {
        let state = State {
            value: Arc::new(value),
            stamp: None,
            looked: None,
        };
        Self {
            path,
            parse: Arc::new(move |bytes| Some(parse(bytes))),
            state: Mutex::new(state),
        }
    }

    /// Reads the file now; it must make sense.
    pub(super) fn read(
        path: PathBuf,
        parse: impl Fn(&[u8]) -> Result<T, HickoryError> + Send + Sync + 'static,
    ) -> Result<Self, HickoryError> {
        let unreadable = |error| HickoryError::because("resolv.conf cannot be read", error);
        let (stamp, bytes) = read_if_changed(&path, None).map_err(unreadable)?;
        let value = parse(&bytes.unwrap_or_default())?;
        let state = State {
            value: Arc::new(value),
            stamp: Some(stamp),
            looked: None,
        };
        let parse = move |bytes: &[u8]| match parse(bytes) {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(%error, "resolv.conf changed and makes no sense; keeping the old one");
                None
            }
        };
        Ok(Self {
            path,
            parse: Arc::new(parse),
            state: Mutex::new(state),
        })
    }

    /// The value, after a look at the file if the last one is some time ago. Whoever looks waits for
    /// it, on a thread that may block; all others get what there is.
    pub(super) async fn current(&self) -> Arc<T> {
        let (is_due, stamp) = self.is_due();
        if !is_due {
            return Arc::clone(&self.locked().value);
        }
        let (path, parse) = (self.path.clone(), Arc::clone(&self.parse));
        let look = tokio::task::spawn_blocking(move || {
            let (stamp, bytes) = read_if_changed(&path, stamp).ok()?;
            Some((stamp, parse(&bytes?)))
        });
        let Ok(Some((stamp, value))) = look.await else {
            // Unchanged, or unreadable: what there is stays.
            return Arc::clone(&self.locked().value);
        };
        let mut state = self.locked();
        state.stamp = Some(stamp);
        if let Some(value) = value {
            let old = std::mem::replace(&mut state.value, Arc::new(value));
            let new = Arc::clone(&state.value);
            drop(state);
            drop(old);
            return new;
        }
        Arc::clone(&state.value)
    }

    /// Whether it is time to look, which it then is not for others, and what the last look saw.
    fn is_due(&self) -> (bool, Option<Stamp>) {
        let now = Instant::now();
        let mut state = self.locked();
        let is_due = state.looked.is_none_or(|looked| now >= looked + EVERY);
        if is_due {
            state.looked = Some(now);
        }
        (is_due, state.stamp)
    }

    fn locked(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_if_changed(path: &Path, old: Option<Stamp>) -> io::Result<(Stamp, Option<Vec<u8>>)> {
    let file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    if old == Some(stamp) {
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
        }
    }
}
