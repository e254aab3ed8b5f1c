//! The state that all keys of one limit share: the observer and the waiters. No Tower in here.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::Uri;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tollgate_core::{Event, Observer, Origin};

/// The origin under which requests that do not say where they go are reported to an observer.
pub const UNKNOWN_ORIGIN: &str = "unknown://unknown";

/// The state that all keys of one limit share.
#[derive(Default)]
pub(crate) struct Common {
    pub(crate) observer: Option<Arc<dyn Observer>>,
    freed: Arc<Notify>,
    /// The number that listen to `freed`, so that a release with no listener touches nothing
    /// shared.
    watchers: AtomicUsize,
}

impl Common {
    pub(crate) fn new(observer: Option<Arc<dyn Observer>>) -> Arc<Self> {
        Arc::new(Self {
            observer,
            ..Self::default()
        })
    }

    /// From here on every release is noticed: look at the gauges *after* this.
    pub(crate) fn watch(self: &Arc<Self>) -> Watcher {
        self.watchers.fetch_add(1, Ordering::SeqCst);
        let mut freed = Box::pin(Arc::clone(&self.freed).notified_owned());
        freed.as_mut().enable();
        Watcher {
            common: Arc::clone(self),
            freed,
        }
    }

    /// A place fell free, or a limit was changed or closed.
    pub(crate) fn changed(&self) {
        // A watcher that still saw the place taken has locked the gate before the release did, and
        // counted itself before that.
        if self.watchers.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            let _reported = event.report_to(observer.as_ref());
        }
    }
}

/// Is woken when a place falls free anywhere, and holds none.
pub(crate) struct Watcher {
    common: Arc<Common>,
    freed: Pin<Box<OwnedNotified>>,
}

impl Future for Watcher {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.freed.as_mut().poll(cx)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.common.watchers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The origin that requests without one have in events.
pub(crate) fn unknown_origin() -> Origin {
    static UNKNOWN: OnceLock<Origin> = OnceLock::new();
    UNKNOWN
        .get_or_init(|| Origin::from_uri(&Uri::from_static(UNKNOWN_ORIGIN)).expect("an origin"))
        .clone()
}
