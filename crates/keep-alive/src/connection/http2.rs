//! One HTTP/2 connection: how it is opened, driven, and what its streams are worth.
//!
//! hyper runs an HTTP/2 connection as two futures: one hands requests over, the other, which hyper
//! gives to an executor, reads and writes frames. SETTINGS wake only the second. Ours catches that
//! one and polls both in one task, so that after each turn the number of streams that the peer allows
//! is known, and one abort ends everything.

mod added;
mod driver;
mod exchanges;
mod executor;
mod explained;
mod frames;
mod memory;
mod mistakes;
mod pings;
mod resets;
mod suspicion;
mod window;
pub(crate) mod wire;

use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2::Builder;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioTimer;
use tokio::time::Instant;
use tollgate_core::{BoxError, CloseReason};

pub(crate) use self::driver::Http2Driver;
use self::executor::CapturingExecutor;
pub(crate) use self::explained::{explained, wants_http1};
pub(crate) use self::memory::Memory;
use self::wire::Wire;
use crate::connection::conn::Conn;
use crate::connection::guarded::{GuardedIo, SharedWire};
use crate::connection::http2_sender::Http2Sender;
use crate::connection::port::Port;
use crate::options::protocol::Http2Options;

type Frames = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Until the peer has said how many streams it allows, none are: its first word is awaited as part of
/// the open, and no request can pile up in hyper meanwhile.
const NOT_SAID: usize = 0;

/// Streams that this side has reset and h2 remembers: what still comes on one that it has forgotten is
/// a fault, of which it bears 1,024 before it ends the connection. The pool retires a connection after
/// far fewer resets, and peers answer a cancelled call within the time that a caller would have waited.
const REMEMBERED: usize = 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Puts the look at its frames round the IO of a connection, with a guard in it.
pub(crate) fn watched<I, G>(
    io: I,
    options: &Http2Options,
    port: &dyn Port,
    conn: &Conn,
    guard: G,
) -> GuardedIo<I, G>
where
    I: Write + Unpin,
{
    let slower = port.memory().pings_slowed();
    let wire = SharedWire::new(Wire::new(options, slower, Instant::now()));
    let wire = conn.wire.get_or_init(|| wire).clone();
    GuardedIo::new(io, wire, guard)
}

/// Opens HTTP/2 on a connection and waits for the peer's first word.
pub(crate) async fn open<I>(
    io: I,
    options: &Http2Options,
    port: Box<dyn Port>,
    conn: Arc<Conn>,
) -> Result<(Http2Sender, NonZeroUsize, Http2Driver<I>), BoxError>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let executor = CapturingExecutor::default();
    let mut builder = Builder::new(executor.clone());
    builder
        .timer(TokioTimer::new())
        .initial_max_send_streams(NOT_SAID)
        .max_concurrent_reset_streams(REMEMBERED)
        .reset_stream_duration(REMEMBERED_FOR)
        .max_header_list_size(options.max_header_list_size)
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.window_of_connection())
        .adaptive_window(options.adaptive_window);
    let (sender, requests) = builder.handshake(io).await?;
    let wire = conn.wire.get().cloned();
    let wire = wire.expect("the look at the frames was put round the IO");
    // After the handshake, in which hyper gives them away.
    let frames = executor.captured();
    let mut driver = Http2Driver::new(
        requests,
        frames,
        wire,
        options.max_streams.get(),
        port,
        conn,
    );
    let streams = poll_fn(|cx| driver.poll_first_word(cx)).await?;
    let sender = Http2Sender::new(sender, driver.hand_over(), executor.uploads());
    Ok((sender, streams, driver))
}

/// Whether the peer says that it did not process the request: it refused the stream, or left it out
/// when it announced its end.
pub(crate) fn is_unprocessed(error: &(dyn std::error::Error + 'static)) -> bool {
    tollgate_core::error::find::<h2::Error>(error).is_some_and(|error| {
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (refused || error.is_go_away())
    })
}

/// Why a connection ended, by the error of what was on it.
pub(crate) fn reason_of(error: &hyper::Error) -> CloseReason {
    let of_h2 = tollgate_core::error::find::<h2::Error>(error);
    let goodbye = |error: &h2::Error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    };
    if of_h2.is_some_and(goodbye) {
        CloseReason::PeerClose
    } else if crate::connection::driver::is_end(error) {
        CloseReason::PeerEof
    } else {
        CloseReason::Error
    }
}
