//! Late addresses: those that a resolver still has to come after its first answer to a dial.
//!
//! A resolver gives one answer, and an answer with one address family is worth dialling while the
//! query for the other is still out. So a dial polls its resolver inside [`listen`], and a resolver
//! whose answer is not all reports the rest with [`follow`] in the poll that gives it. The type of the answer
//! stays what it is, layers in between need not know, and without a listener nothing happens.
//!
//! ```
//! use std::net::SocketAddr;
//! use tollgate_core::late;
//!
//! # fn ask_a() -> impl Future<Output = SocketAddr> { async { SocketAddr::from(([127, 0, 0, 1], 0)) } }
//! # async fn ask_aaaa() -> Vec<SocketAddr> { Vec::new() }
//! async fn resolve() -> [SocketAddr; 1] {
//!     let first = ask_a().await;
//!     late::follow(std::time::Duration::ZERO, ask_aaaa());
//!     [first]
//! }
//! ```

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Addresses that are still to come: a future of them, empty if none came.
///
/// Its addresses may repeat those of the first answer: the whole answer will do. Dropping it
/// takes the interest back and nothing else.
#[must_use = "futures do nothing unless polled"]
pub struct Late {
    waited: Duration,
    rest: Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>>,
}

impl Late {
    /// Returns the time that they had been waited for when the first answer was given.
    pub const fn waited(&self) -> Duration {
        self.waited
    }
}

impl Future for Late {
    type Output = Vec<SocketAddr>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.rest.as_mut().poll(cx)
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late")
            .field("waited", &self.waited)
            .finish_non_exhaustive()
    }
}

enum Ear {
    Deaf,
    Open(Option<Late>),
}

thread_local! {
    static EAR: RefCell<Ear> = const { RefCell::new(Ear::Deaf) };
}

/// Runs `poll` and gives what it announced with [`follow`], if anything; the last, if several.
///
/// An outer `listen` hears nothing of it, also when `poll` panics.
pub fn listen<R>(poll: impl FnOnce() -> R) -> (R, Option<Late>) {
    struct Restore(Ear);
    impl Drop for Restore {
        fn drop(&mut self) {
            // Not `set`, which would drop what a panic left while the slot is borrowed.
            drop(EAR.replace(std::mem::replace(&mut self.0, Ear::Deaf)));
        }
    }
    let restore = Restore(EAR.replace(Ear::Open(None)));
    let result = poll();
    // Taken before the outer one is put back.
    let heard = EAR.replace(Ear::Deaf);
    drop(restore);
    match heard {
        Ear::Open(late) => (result, late),
        Ear::Deaf => (result, None),
    }
}

/// Returns true if this poll runs in a [`listen`].
pub fn is_heard() -> bool {
    EAR.with_borrow(|ear| matches!(ear, Ear::Open(_)))
}

/// Announces that `rest` follows the answer that this poll gives, after it was `waited` for.
///
/// A resolver that answers as soon as one family is there gives no time at all, one that gave the
/// other family its chance the time it gave. `rest` is dropped unpolled without a listener, and as soon
/// as the listener is dropped: work that is to go on belongs in a task of its own.
pub fn follow(waited: Duration, rest: impl Future<Output = Vec<SocketAddr>> + Send + 'static) {
    if is_heard() {
        // Boxed for a listener alone: a resolver that nothing listens to pays for no allocation.
        let rest = Box::pin(rest);
        // The one before is dropped here, with the slot free.
        drop(EAR.replace(Ear::Open(Some(Late { waited, rest }))));
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    fn follows(n: u64) {
        follow(Duration::from_millis(n), ready(Vec::new()));
    }

    fn waited(late: Option<&Late>) -> Option<Duration> {
        late.map(Late::waited)
    }

    #[test]
    fn a_listener_gets_its_polls_last_announcement() {
        let (inner, outer) = listen(|| {
            follows(1);
            let ((), inner) = listen(|| {
                follows(2);
                follows(3);
            });
            inner
        });
        assert_eq!(waited(inner.as_ref()), Some(Duration::from_millis(3)));
        assert_eq!(waited(outer.as_ref()), Some(Duration::from_millis(1)));
        assert!(!is_heard());
    }

    #[test]
    fn without_a_listener_an_announcement_goes_nowhere() {
        follows(1);
        let ((), heard) = listen(|| ());
        assert!(heard.is_none());
    }

    #[test]
    fn a_panic_while_listening_leaves_nobody_listening() {
        let panicked = std::panic::catch_unwind(|| {
            listen(|| {
                follows(1);
                panic!("resolver");
            })
        });
        assert!(panicked.is_err());
        assert!(!is_heard());
    }

    #[test]
    fn a_late_announcement_may_be_dropped() {
        struct Looks;
        impl Drop for Looks {
            fn drop(&mut self) {
                assert!(is_heard(), "the slot is free while this is dropped");
            }
        }
        let looks = Looks;
        let ((), heard) = listen(|| {
            follow(Duration::ZERO, async move {
                let _looks = looks;
                Vec::new()
            });
            follows(2);
        });
        assert_eq!(waited(heard.as_ref()), Some(Duration::from_millis(2)));
    }
}
