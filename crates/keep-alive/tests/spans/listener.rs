//! A subscriber that keeps everything it is told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use hyper_util::client::legacy::connect::Connected;
use tollgate_core::DialInfo;
use tollgate_testing::{Connector, Upstream};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

pub(crate) type Fields = BTreeMap<String, String>;

/// Keeps every span with its fields and its parent, and knows which one each thread is in.
#[derive(Clone, Default)]
pub(crate) struct Spans(Arc<Mutex<Vec<SpanRecord>>>, Arc<Mutex<Vec<EventRecord>>>);

/// An event: its target and its fields.
pub(crate) type EventRecord = (&'static str, Fields);

#[derive(Clone, Debug)]
pub(crate) struct SpanRecord {
    pub(crate) name: &'static str,
    pub(crate) parent: Option<u64>,
    pub(crate) fields: Fields,
    pub(crate) open: bool,
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
    pub(crate) fn all(&self) -> Vec<SpanRecord> {
        self.0.lock().unwrap().clone()
    }

    /// The events of all targets.
    pub(crate) fn events(&self) -> Vec<EventRecord> {
        self.1.lock().unwrap().clone()
    }

    pub(crate) fn attempts(&self) -> Vec<SpanRecord> {
        let all = self.all().into_iter();
        all.filter(|told| told.name == "attempt").collect()
    }

    /// Those of `work`, which runs on this thread.
    pub(crate) fn of<F: Future>(&self, work: F) -> F::Output {
        self.on(work, false)
    }

    /// The same, with a clock that stands still.
    pub(crate) fn of_paused<F: Future>(&self, work: F) -> F::Output {
        self.on(work, true)
    }

    fn on<F: Future>(&self, work: F, paused: bool) -> F::Output {
        // One that every thread has: what a thread without one logs first is else taken for logged to
        // none, and then for all threads.
        let _set_once = tracing::subscriber::set_global_default(Self::default());
        tracing::subscriber::with_default(self.clone(), || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(paused)
                .build()
                .unwrap();
            runtime.block_on(work)
        })
    }
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::new();
        attributes.record(&mut Writer(&mut fields));
        let parent = attributes.parent().cloned();
        let parent = parent.or_else(|| attributes.is_contextual().then(current).flatten());
        let mut all = self.0.lock().unwrap();
        all.push(SpanRecord {
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

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Writer(&mut fields));
        let said = (event.metadata().target(), fields);
        self.1.lock().unwrap().push(said);
    }

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
pub(crate) fn current() -> Option<Id> {
    ENTERED.with_borrow(|entered| entered.last().cloned())
}

fn index(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

/// A connector that says what the dial took, as Tollgate's do.
pub(crate) fn told(upstream: &Upstream) -> Connector {
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
