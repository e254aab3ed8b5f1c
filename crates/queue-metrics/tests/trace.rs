//! What `TraceEvents` says, at which level, and that it tells no secrets.

mod common;

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use common::{Tell, dns_lookup, ms, one_of_everything, origin};
use tollgate_core::{CloseReason, ConnectErrorKind, Observer, RefuseReason};
use tollgate_queue_metrics::TraceEvents;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Writes each event as one line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").expect("a string takes all");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("events only")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        self.0
            .lock()
            .expect("no line panics")
            .push((*event.metadata().level(), line.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn traced(run: impl FnOnce(&TraceEvents)) -> Vec<(Level, String)> {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || run(&TraceEvents::new()));
    let lines = lines.0.lock().expect("no line panics");
    lines.clone()
}

#[test]
fn each_event_has_its_target_and_level() {
    let lines = traced(one_of_everything);
    let told: Vec<_> = lines
        .iter()
        .map(|(level, line)| (*level, line.split(' ').next().unwrap()))
        .collect();
    let expected = [
        (Level::TRACE, "tollgate::dns"),
        (Level::DEBUG, "tollgate::dns"),
        (Level::WARN, "tollgate::dns"),
        (Level::DEBUG, "tollgate::queue"),
        (Level::DEBUG, "tollgate::connect"),
        (Level::DEBUG, "tollgate::connect"),
        (Level::DEBUG, "tollgate::queue"),
        (Level::WARN, "tollgate::queue"),
        (Level::TRACE, "tollgate::queue"),
        (Level::TRACE, "tollgate::queue"),
        (Level::DEBUG, "tollgate::pool"),
        (Level::TRACE, "tollgate::queue"),
        (Level::DEBUG, "tollgate::connect"),
        (Level::WARN, "tollgate::connect"),
        (Level::DEBUG, "tollgate::connect"),
        (Level::DEBUG, "tollgate::connect"),
        (Level::DEBUG, "tollgate::pool"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn traced_open_has_phases_and_failure_its_cause() {
    let lines = traced(one_of_everything);
    let opened = &lines[5].1;
    for part in [
        "origin=https://billing.test",
        "dns=10ms",
        "tcp=20ms",
        "tls=10ms",
        "elapsed=40ms",
    ] {
        assert!(opened.contains(part), "{part} in {opened}");
    }
    let failed = &lines[13].1;
    assert!(
        failed.contains("error=connection refused elapsed=3ms"),
        "{failed}"
    );
    assert!(failed.contains("kind=\"refused\""), "{failed}");
}

#[test]
fn overload_warns_once_a_second_per_kind() {
    let refusals = traced(|trace| {
        let tell = Tell {
            observer: trace,
            origin: origin("https://billing.test"),
        };
        for _ in 0..1_000 {
            tell.refused(RefuseReason::QueueFull, ms(0));
        }
        tell.refused(RefuseReason::Cancelled, ms(5));
        dns_lookup(trace, "billing.test", Some("timeout"));
        tell.connect_failed(ConnectErrorKind::Dns);
        tell.closed(1, CloseReason::Unsolicited);
    });
    assert_eq!(refusals.len(), 1_004, "nothing is swallowed");
    let warnings: Vec<_> = refusals
        .iter()
        .filter(|(level, _)| *level == Level::WARN)
        .collect();
    // One each; another of the thousand if a second ended among them.
    assert!((4..=5).contains(&warnings.len()), "{warnings:?}");
}

#[test]
fn no_trace_line_has_userinfo_path_or_query() {
    let lines = traced(|trace| {
        let tell = Tell {
            observer: trace,
            origin: origin("https://admin:hunter2@billing.test/secret?token=1"),
        };
        tell.queued(0);
        tell.granted(ms(1), true);
        tell.refused(RefuseReason::Closed, ms(0));
    });
    for word in ["admin", "hunter2", "secret", "token"] {
        assert!(!lines.iter().any(|(_, line)| line.contains(word)), "{word}");
    }
}

#[test]
fn limit_and_draining_changes_are_traced_at_debug() {
    let origin = origin("https://billing.test");
    let (from, to) = (0, 128);
    let lines = traced(|trace| {
        trace.on_event(&tollgate_core::Event::LimitChanged {
            origin: &origin,
            from,
            to,
        });
        trace.on_event(&tollgate_core::Event::DrainingChanged {
            origin: &origin,
            from,
            to: 1,
        });
    });
    assert!(lines.iter().all(|(level, _)| *level == Level::DEBUG));
    assert!(lines[0].1.starts_with("tollgate::pool"), "{lines:?}");
    assert!(lines[0].1.contains("to=128") && lines[1].1.contains("to=1"));
}
