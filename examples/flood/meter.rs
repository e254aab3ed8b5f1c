//! Counts the connections of any connector from outside: a guard in each says when it is gone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tower::Service;

/// The counters of a [`Metered`] connector; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    connecting: AtomicUsize,
    opened: AtomicU64,
    live: AtomicUsize,
    peak: AtomicUsize,
}

impl Meter {
    pub(crate) fn connecting(&self) -> usize {
        self.0.connecting.load(Relaxed)
    }

    pub(crate) fn opened(&self) -> u64 {
        self.0.opened.load(Relaxed)
    }

    pub(crate) fn live(&self) -> usize {
        self.0.live.load(Relaxed)
    }

    pub(crate) fn peak(&self) -> usize {
        self.0.peak.load(Relaxed)
    }

    pub(crate) fn connector<C>(&self, inner: C) -> Metered<C> {
        let meter = self.clone();
        Metered { inner, meter }
    }

    fn connect(&self) -> Counted {
        self.0.connecting.fetch_add(1, Relaxed);
        Counted(Arc::clone(&self.0), |counters| &counters.connecting)
    }

    fn open(&self) -> Counted {
        self.0.opened.fetch_add(1, Relaxed);
        let live = self.0.live.fetch_add(1, Relaxed) + 1;
        self.0.peak.fetch_max(live, Relaxed);
        Counted(Arc::clone(&self.0), |counters| &counters.live)
    }
}

/// Counts something out when it is dropped.
#[derive(Debug)]
struct Counted(Arc<Counters>, fn(&Counters) -> &AtomicUsize);

impl Drop for Counted {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Relaxed);
    }
}

/// A connector whose dials and connections are counted.
#[derive(Clone, Debug)]
pub(crate) struct Metered<C> {
    inner: C,
    meter: Meter,
}

impl<C> Service<Uri> for Metered<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
{
    type Response = MeteredIo<C::Response>;
    type Error = C::Error;
    type Future = BoxFuture<'static, Result<Self::Response, C::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let meter = self.meter.clone();
        let connecting = meter.connect();
        let dial = self.inner.call(uri);
        Box::pin(async move {
            let result = dial.await;
            drop(connecting);
            result.map(|inner| MeteredIo {
                inner,
                _live: meter.open(),
            })
        })
    }
}

/// A connection that is counted as long as it exists.
#[derive(Debug)]
pub(crate) struct MeteredIo<T> {
    inner: T,
    // Last, so that the socket is closed before it is counted out.
    _live: Counted,
}

impl<T: Read + Unpin> Read for MeteredIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for MeteredIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}

impl<T: Connection> Connection for MeteredIo<T> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn dials_and_connections_are_counted_in_and_out() {
        let meter = Meter::default();
        let mut connector =
            meter.connector(service_fn(async |_: Uri| Ok::<_, Infallible>("a socket")));
        let uri = Uri::from_static("http://a/");
        let (first, second) = (connector.call(uri.clone()), connector.call(uri.clone()));
        assert_eq!((meter.connecting(), meter.live()), (2, 0));
        drop(second);
        assert_eq!(meter.connecting(), 1);
        let (first, third) = (first.await.unwrap(), connector.call(uri).await.unwrap());
        assert_eq!(
            (meter.connecting(), meter.live(), meter.opened()),
            (0, 2, 2)
        );
        drop((first, third));
        assert_eq!((meter.live(), meter.peak()), (0, 2));
    }
}
