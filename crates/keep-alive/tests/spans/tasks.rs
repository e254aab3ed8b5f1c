//! Dials and connections are tasks of their own, in nobody's span.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tollgate_testing::{Reply, Upstream};
use tower::{Layer, ServiceExt};
use tracing::Instrument;
use tracing::span::Id;

use crate::listener::{Spans, current, told};
use crate::support::{cap, fetch};

/// An IO object, and whose span it is used in.
struct Nosy<I>(I, Arc<Mutex<Vec<Option<Id>>>>);

impl<I> Nosy<I> {
    fn look(&self) {
        self.1.lock().unwrap().push(current());
    }
}

impl<I: Read + Unpin> Read for Nosy<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.look();
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<I: Write + Unpin> Write for Nosy<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look();
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look();
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<I: Connection> Connection for Nosy<I> {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

#[test]
fn dials_and_connections_run_outside_any_span() {
    let spans = Spans::default();
    let looks = Arc::new(Mutex::new(Vec::new()));
    let dials = Arc::new(Mutex::new(Vec::new()));
    spans.of(async {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let (connector, looked, dialled) = (told(&upstream), looks.clone(), dials.clone());
        let connector = tower::service_fn(move |uri| {
            dialled.lock().unwrap().push(current());
            let (connector, looked) = (connector.clone(), looked.clone());
            let dialled = dialled.clone();
            async move {
                let io = connector.oneshot(uri).await?;
                dialled.lock().unwrap().push(current());
                Ok::<_, io::Error>(Nosy(io, looked))
            }
        });
        let pool = cap(1).layer(connector);
        let callers = async {
            for _ in 0..3 {
                assert!(current().is_some(), "the caller's");
                fetch(&pool, &upstream.uri("/")).await.unwrap();
            }
        };
        callers.instrument(tracing::info_span!("checkout")).await;
        drop(pool);
        upstream.settled(|stats| stats.live == 0).await;
    });
    let (looks, dials) = (looks.lock().unwrap(), dials.lock().unwrap());
    assert_eq!(dials[..], [None, None]);
    assert!(
        looks.len() >= 6 && looks.iter().all(Option::is_none),
        "{looks:?}"
    );
    let ended = spans.all().iter().all(|told| !told.open);
    assert!(ended, "no connection holds a span");
}
