//! One span an attempt, with what it went through and no secret; and none on a connection's own
//! task.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use http_body_util::Empty;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use support::{cap, fetch, get, read, request};
use tollgate_core::DialInfo;
use tollgate_testing::{Connector, Reply, Upstream};
use tower::{Layer, ServiceExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument, Level, Metadata, Subscriber};

type Fields = BTreeMap<String, String>;

/// Keeps every span with its fields and its parent, and knows which one each thread is in.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Told>>>);

#[derive(Clone, Debug)]
struct Told {
    name: &'static str,
    parent: Option<u64>,
    fields: Fields,
    open: bool,
}

thread_local! {
    static ENTERED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

struct Writer<'a>(&'a mut Fields);

impl Visit for Writer<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.to_string(), format!("{value:?}"));
    }
}

impl Spans {
    fn attempts(&self) -> Vec<Told> {
        let all = self.0.lock().unwrap().clone();
        all.into_iter()
            .filter(|told| told.name == "attempt")
            .collect()
    }

    /// Those of `work`, which runs on this thread.
    fn of<F: Future>(&self, work: F) -> F::Output {
        tracing::subscriber::with_default(self.clone(), || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(work)
        })
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::new();
        attributes.record(&mut Writer(&mut fields));
        let parent = attributes.parent().cloned();
        let parent = parent.or_else(|| attributes.is_contextual().then(current).flatten());
        let mut all = self.0.lock().unwrap();
        all.push(Told {
            name: attributes.metadata().name(),
            parent: parent.map(|id| id.into_u64()),
            fields,
            open: true,
        });
        Id::from_u64(all.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let told = &mut self.0.lock().unwrap()[index(id)];
        values.record(&mut Writer(&mut told.fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.clone()));
    }

    fn exit(&self, _: &Id) {
        ENTERED.with_borrow_mut(Vec::pop);
    }

    fn try_close(&self, id: Id) -> bool {
        self.0.lock().unwrap()[index(&id)].open = false;
        true
    }
}

/// The span that this thread is in.
fn current() -> Option<Id> {
    ENTERED.with_borrow(|entered| entered.last().cloned())
}

fn index(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

/// A connector that says what the dial took, as Tollgate's do.
fn told(upstream: &Upstream) -> Connector {
    let remote = upstream.addr();
    Connector::tcp(remote).connected(move || {
        let mut info = DialInfo::default();
        let ms = std::time::Duration::from_millis;
        info.remote = Some(remote);
        info.dns = Some(ms(1));
        info.connect = Some(ms(2));
        info.tls = Some(ms(3));
        Connected::new().extra(info)
    })
}

#[test]
fn an_attempt_is_a_child_of_the_callers_span_and_tells_its_phases() {
    let spans = Spans::default();
    spans.of(async {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let pool = cap(1).layer(told(&upstream));
        let uri = upstream.uri("/");
        for _ in 0..2 {
            let caller = tracing::info_span!("checkout");
            fetch(&pool, &uri).instrument(caller).await.unwrap();
        }
    });
    let [cold, warm] = &spans.attempts()[..] else {
        panic!("{:?}", spans.attempts());
    };
    for (field, value) in [("dns", "1ms"), ("connect", "2ms"), ("tls", "3ms")] {
        assert_eq!(cold.fields[field], value);
        assert!(!warm.fields.contains_key(field), "{warm:?}");
    }
    for (attempt, reused) in [(cold, "false"), (warm, "true")] {
        let fields = &attempt.fields;
        assert_eq!((&*fields["method"], &*fields["attempt"]), ("GET", "1"));
        assert_eq!((&*fields["status"], &*fields["connection"]), ("200", "1"));
        assert_eq!(
            (&*fields["outcome"], &*fields["reused"]),
            ("\"answered\"", reused)
        );
        assert!(fields.contains_key("first_byte") && fields.contains_key("remote"));
        assert!(!attempt.open, "it ends with the head");
    }
    assert_eq!(warm.fields["queued"], "0ns");
    assert_ne!(cold.fields["queued"], "0ns");
    assert_eq!((cold.parent, warm.parent), (Some(1), Some(3)));
}

#[test]
fn each_attempt_of_a_request_has_a_span_of_its_own() {
    let spans = Spans::default();
    spans.of(async {
        let upstream = Upstream::start(|request| match request.arrival {
            1 => Reply::nothing().close(),
            _ => Reply::ok("ok"),
        })
        .await;
        let pool = cap(1).layer(told(&upstream));
        for _ in 0..2 {
            fetch(&pool, &upstream.uri("/")).await.unwrap();
        }
    });
    let told: Vec<_> = spans.attempts();
    let outcomes: Vec<_> = told
        .iter()
        .map(|told| (&*told.fields["attempt"], &*told.fields["outcome"]))
        .collect();
    let (answered, failed) = ("\"answered\"", "\"failed\"");
    assert_eq!(outcomes, [("1", answered), ("1", failed), ("2", answered)]);
    assert!(told[1].fields["error"].contains("closed"), "{:?}", told[1]);
}

#[test]
fn a_refusal_and_a_caller_that_leaves_end_their_spans() {
    let spans = Spans::default();
    spans.of(async {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let pool = cap(1).max_waiting(1).layer(told(&upstream));
        let uri = upstream.uri("/");
        let holder = get(&pool, &uri).await.unwrap();
        let mut waiting = Box::pin(pool.clone().oneshot(request("GET", &uri)));
        assert!(waiting.as_mut().now_or_never().is_none());
        get(&pool, &uri).await.unwrap_err();
        drop(waiting);
        read(holder).await.unwrap();
    });
    let told = spans.attempts();
    assert_eq!(told[1].fields["outcome"], "\"cancelled\"");
    assert_eq!(told[2].fields["outcome"], "\"refused\"");
    assert!(told[2].fields["error"].contains("wait"), "{:?}", told[2]);
    assert!(told.iter().all(|told| !told.open));
}

#[test]
fn no_span_tells_a_secret() {
    let spans = Spans::default();
    spans.of(async {
        let upstream = Upstream::start(|request| match request.arrival {
            0 => Reply::ok("hunter2").header("set-cookie", "hunter2"),
            _ => Reply::raw("hunter2 hunter2\r\n\r\n"),
        })
        .await;
        let pool = cap(1).layer(told(&upstream));
        for _ in 0..2 {
            let uri = format!(
                "http://user:hunter2@{}/hunter2?token=hunter2",
                upstream.addr()
            );
            let request = Request::get(uri)
                .header("authorization", "hunter2")
                .body(Empty::<Bytes>::new());
            drop(pool.clone().oneshot(request.unwrap()).await);
        }
    });
    let told = format!("{:?}", spans.attempts());
    assert!(
        spans.attempts().len() >= 2 && !told.contains("hunter2"),
        "{told}"
    );
}

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
fn a_dial_and_a_connection_are_in_nobodys_span() {
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
    let ended = spans.0.lock().unwrap().iter().all(|told| !told.open);
    assert!(ended, "no connection holds a span");
}
