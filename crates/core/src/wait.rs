//! The time that a request waited in a layer that queues inside its call, for the layers above.
//!
//! A service that is always ready and queues in its future hides that wait in the time of the call.
//! So the layer that measures polls what is below it inside [`scope`], and whatever queues there
//! reports with [`add`] how long that took: when the wait is over, however it ended, or is dropped. It
//! is found through a thread-local that is set only for the length of one poll, as with
//! [`phase`](crate::phase): no parameter goes through foreign layers, and nothing leaks into
//! another task. Without a listener, and for a request that did not wait, nothing happens. Waits of
//! requests that one call makes side by side add up, and may be longer than the call.

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// The waits added in the innermost scope; `None` outside of all.
    static WAITED: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Runs `run`, and returns with its result how long requests waited in it: one poll, or the drop, of a
/// future. Scopes nest: what is added in an inner one reaches the outer ones as well.
///
/// ```
/// use std::time::Duration;
/// use tollgate_core::wait;
///
/// let (answer, waited) = wait::scope(|| {
///     wait::add(Duration::from_millis(20));
///     "answer"
/// });
/// assert_eq!((answer, waited), ("answer", Duration::from_millis(20)));
/// ```
pub fn scope<R>(run: impl FnOnce() -> R) -> (R, Duration) {
    let scope = Scope(WAITED.replace(Some(Duration::ZERO)));
    let result = run();
    let waited = WAITED.get().unwrap_or_default();
    // The outer scope first: what this one waited is added there.
    drop(scope);
    add(waited);
    (result, waited)
}

/// Reports that a request waited, in whatever scope this runs.
pub fn add(waited: Duration) {
    if let Some(before) = WAITED.get() {
        WAITED.set(Some(before.saturating_add(waited)));
    }
}

/// Puts the outer scope back, also when what ran in the inner one panics.
struct Scope(Option<Duration>);

impl Drop for Scope {
    fn drop(&mut self) {
        WAITED.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waits_add_up_through_nested_scopes() {
        let ((inner, nothing), outer) = scope(|| {
            add(MS);
            let ((), inner) = scope(|| {
                add(2 * MS);
                add(3 * MS);
            });
            (inner, scope(|| ()).1)
        });
        assert_eq!((inner, nothing, outer), (5 * MS, Duration::ZERO, 6 * MS));
    }

    #[test]
    fn outside_of_a_scope_a_wait_goes_nowhere() {
        add(MS);
        assert_eq!(scope(|| ()).1, Duration::ZERO);
    }

    #[test]
    fn a_panic_in_a_scope_leaves_nothing_behind() {
        let ((), outer) = scope(|| {
            let panicked = std::panic::catch_unwind(|| {
                scope(|| {
                    add(MS);
                    panic!("in the service");
                })
            });
            assert!(panicked.is_err());
        });
        assert_eq!(outer, Duration::ZERO);
        assert_eq!(WAITED.get(), None);
    }
}
