//! The options of a whole pool that a layer and the facade take as they are, each declared once.

/// Calls a macro with every option of a whole pool: `name(argument: type);`.
#[doc(hidden)]
#[macro_export]
macro_rules! __pool_options {
    ($with:ident) => {
        $with! {
            /// Sets the retries that the pool makes by itself. Default [`RetryPolicy::default`]: of
            /// requests that were never sent, and of idempotent ones without a body on a reused
            /// connection that had died.
            retry(policy: RetryPolicy);
            /// Keeps the order of the queue first in, first out even while callers leave in numbers.
            /// Default: adaptive, see [`Discipline`].
            discipline(discipline: Discipline);
            /// Puts a copy of [`Timings`](tollgate_core::Timings) into each response's extensions,
            /// for code that sees the response behind layers that change its body. Default off: it
            /// costs an allocation, and the response's body has them anyway.
            timings_in_extensions(on: bool);
            /// Sets the limits and the leniency of HTTP/1. Default [`Http1Options::new`].
            http1(options: Http1Options);
            /// Sets the connections, streams, pings and windows of HTTP/2. Default
            /// [`Http2Options::new`].
            http2(options: Http2Options);
            /// Sets the runtime of dials and connections, whichever runtime a request is made on.
            /// Default: the runtimes of the requests that wait.
            ///
            /// For a client that many runtimes share, as a static one in a hundred tests does: a
            /// connection ends with its runtime, and takes the requests in flight on it along. The
            /// named runtime must outlive the use of the pool; once it has ended, requests that need
            /// a dial fail.
            runtime(runtime: tokio::runtime::Handle);
        }
    };
}
