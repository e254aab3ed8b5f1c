//! A request that is handed to one connection and to no other.

/// As an extension of a request: it is handed to one connection and never to another, whatever the
/// pool's [`RetryPolicy`](crate::RetryPolicy): neither started again when hyper gives it back
/// unwritten, nor sent a second time when a reused connection ended without an answer.
///
/// A connection that is found dead before the request is handed to it is still replaced: nothing was
/// tried on it.
///
/// ```
/// use tollgate_keep_alive::NoRetry;
///
/// let request = http::Request::get("http://billing.internal/v1/invoices").extension(NoRetry);
/// # let _ = request;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a marker has nothing to add")]
pub struct NoRetry;

impl NoRetry {
    pub(crate) fn is_in(extensions: &http::Extensions) -> bool {
        extensions.get::<Self>().is_some()
    }
}
