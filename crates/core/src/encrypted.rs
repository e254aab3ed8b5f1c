//! The agreement between connector, TLS layer and pool that `https` never goes out in clear text.
//!
//! A dialler cannot know that a TLS layer above it will encrypt what it connects, and a pool cannot
//! see whether a connection is encrypted. So both refuse `https` unless it is stated to them (in
//! `tollgate-dial`'s `target`, and where `tollgate-keep-alive` opens a connection):
//!
//! * The TLS layer calls and polls the connector below it inside [`scope`], and the connector asks
//!   with [`is_asked_for`].
//! * The TLS layer puts an [`Encrypted`] into the connection's
//!   `hyper_util::client::legacy::connect::Connected` with `extra`, and the pool compares its origin
//!   with the request's. A tunnel through a TLS proxy shows the proxy's, and is refused.
//!
//! Either refuses with a [`NotEncrypted`] in the chain of sources.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;

use http::Uri;

use crate::origin::Origin;

/// The statement that a connection is encrypted by TLS, up to one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted(Origin);

impl Encrypted {
    /// The statement that the connection is encrypted up to `origin`.
    pub const fn to(origin: Origin) -> Self {
        Self(origin)
    }

    /// The origin with which TLS was agreed.
    pub const fn origin(&self) -> &Origin {
        &self.0
    }
}

/// A request to an `https` origin would have gone out in clear text. Nothing was sent.
#[derive(Clone, Copy, Debug)]
pub struct NotEncrypted {
    advice: &'static str,
}

impl NotEncrypted {
    /// The refusal, with a clause on what to change.
    pub const fn new(advice: &'static str) -> Self {
        Self { advice }
    }
}

impl fmt::Display for NotEncrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https would go out in clear text: {}", self.advice)
    }
}

impl Error for NotEncrypted {}

thread_local! {
    static ASKED: RefCell<Option<Uri>> = const { RefCell::new(None) };
}

/// Runs `f`, a call or a poll of the connector below a TLS layer that will encrypt the connection to
/// `uri`, and puts back the outer scope afterwards, also when `f` panics.
pub fn scope<R>(uri: &Uri, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Uri>);
    impl Drop for Restore {
        fn drop(&mut self) {
            ASKED.set(self.0.take());
        }
    }
    // By a destructor: left behind by a panic, the scope would let the next task on this thread
    // dial this URI in clear text.
    let _restore = Restore(ASKED.replace(Some(uri.clone())));
    f()
}

/// Returns `true` inside the [`scope`] of a TLS layer that asks for a connection to this very `uri`.
///
/// Another URI dialled inside it, such as a name server's, has to be asked for on its own.
pub fn is_asked_for(uri: &Uri) -> bool {
    ASKED.with_borrow(|asked| asked.as_ref() == Some(uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_vouches_for_its_own_uri_only() {
        let ours = Uri::from_static("https://a.test/");
        let other = Uri::from_static("https://b.test/");
        assert!(!is_asked_for(&ours));
        scope(&ours, || {
            assert!(is_asked_for(&ours) && !is_asked_for(&other));
            scope(&other, || assert!(!is_asked_for(&ours)));
            assert!(is_asked_for(&ours));
        });
        assert!(!is_asked_for(&ours));
    }

    #[test]
    fn a_panicking_connector_ends_its_scope() {
        let uri = Uri::from_static("https://a.test/");
        let panicked = std::panic::catch_unwind(|| scope(&uri, || panic!("connector")));
        assert!(panicked.is_err());
        assert!(!is_asked_for(&uri));
    }
}
