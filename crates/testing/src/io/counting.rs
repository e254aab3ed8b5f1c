//! Counts the dials and connections of a connector that is not the kit's own.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use tower_service::Service;

use super::connecting::Dialling;
use super::counted::{CountedIo, Stats};
use crate::board::Board;

/// The counters of [`Counting`] connectors; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<Board<Stats>>);

impl Counter {
    /// Counts what this connector does.
    pub fn connector<C>(&self, inner: C) -> Counting<C> {
        let counter = self.clone();
        Counting { inner, counter }
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.0.read(|stats| *stats)
    }
}

/// A connector whose dials and connections are counted.
#[derive(Clone)]
pub struct Counting<C> {
    inner: C,
    counter: Counter,
}

impl<C> Service<Uri> for Counting<C>
where
    C: Service<Uri, Future: Send + 'static>,
{
    type Response = CountedIo<C::Response>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let board = Arc::clone(&self.counter.0);
        let dialling = Dialling::begin(&board);
        let dial = self.inner.call(uri);
        // The guard moves into the future: dropped with it, it counts as cancelled.
        Box::pin(async move {
            let result = dial.await;
            dialling.end(|stats| match &result {
                Ok(_) => stats.opened += 1,
                Err(_) => stats.failed += 1,
            });
            result.map(|io| CountedIo::of(io, board))
        })
    }
}

impl<C> fmt::Debug for Counting<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counting")
            .field(&self.counter.stats())
            .finish()
    }
}
