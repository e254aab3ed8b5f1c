//! The request body that hyper has polled last.

use std::sync::{Arc, Mutex, Weak};

use tollgate_core::lock::lock;

use super::Upload;

/// The request bodies of one connection: the one that hyper has polled last.
///
/// hyper polls a body once in the connection's task and then, if it has not ended, spawns the future
/// that sends it, which says nothing of whose body it sends.
#[derive(Clone, Default)]
pub(crate) struct Uploads(Arc<Mutex<Weak<Upload>>>);

impl Uploads {
    pub(super) fn polled(&self, upload: &Arc<Upload>) {
        *lock(&self.0) = Arc::downgrade(upload);
    }

    /// The one that was polled last, if it has not ended.
    pub(crate) fn take_unended(&self) -> Option<Arc<Upload>> {
        // Taken: what hyper spawns next may send no body.
        let last = std::mem::take(&mut *lock(&self.0));
        last.upgrade().filter(|upload| !upload.has_ended())
    }
}
