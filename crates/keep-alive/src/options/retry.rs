//! The retries that a pool makes by itself.

/// Most requests that are sent again at all are small; gRPC keeps as much and more.
const REPLAY_BUFFER: usize = 64 * 1024;

/// The retries that the pool makes by itself, each on another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The number of times that a request of any method is started again when not one byte of it was
    /// written: hyper hands it back. Default 3; four times as often when the peer ended an HTTP/2 connection,
    /// as those do that serve a set number of requests on each.
    pub unsent: u32,
    /// Sends an idempotent request (RFC 9110 section 9.2.2) without a body a second time when the
    /// *reused* connection it was on ended before a single byte of response. Once, but for
    /// connections that were open before such a loss: what closed one has closed them all.
    /// Once on a fresh connection that was reset: its peer ended and had not read it all. Never where a
    /// fresh one was closed, which may be what the request does to its server. Default true, as in Go,
    /// undici and browsers.
    pub idempotent: bool,
    /// The number of bytes of a request's body that are kept until its response begins, to retry what
    /// an HTTP/2 peer did not process: a refused stream, or one above the last stream of a GOAWAY. A
    /// longer body is sent again only if nothing of it was taken yet. What is kept is shared with
    /// the body, not copied. Default 64 KiB.
    pub buffer: usize,
}

impl RetryPolicy {
    /// No retries.
    pub const NEVER: Self = Self {
        unsent: 0,
        idempotent: false,
        buffer: 0,
    };
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            unsent: 3,
            idempotent: true,
            buffer: REPLAY_BUFFER,
        }
    }
}
