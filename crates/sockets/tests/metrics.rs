//! The gauges say what the kernel says, under the names that are documented.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tollgate_core::{CloseReason, DialInfo, Event, Observer, Origin};
use tollgate_sockets::names::{self, Kind};
use tollgate_sockets::{SLOW_PORTS, SocketMetrics};
use tollgate_testing::namespace;

/// Each series, as `name{key=value,…}`, with its value.
type Series = BTreeMap<String, f64>;

struct Recorder(DebuggingRecorder, Snapshotter);

impl Recorder {
    fn new() -> Self {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        Self(recorder, snapshotter)
    }

    fn report(&self, metrics: &SocketMetrics) -> Series {
        metrics::with_local_recorder(&self.0, || metrics.report()).unwrap();
        let all = self.1.snapshot().into_vec().into_iter();
        let series = all.map(|(key, _, _, value)| {
            let labels = key.key().labels();
            let labels: Vec<_> = labels
                .map(|l| format!("{}={}", l.key(), l.value()))
                .collect();
            let name = format!("{}{{{}}}", key.key().name(), labels.join(","));
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(_) => panic!("{name} is a histogram"),
            };
            (name, value)
        });
        series.collect()
    }
}

fn origin(port: u16) -> Origin {
    format!("http://billing.internal:{port}").parse().unwrap()
}

/// A connection as a pool tells of it.
fn opened(metrics: &SocketMetrics, origin: &Origin, connection: u64, stream: &TcpStream) {
    let mut dial = DialInfo::default();
    dial.remote = stream.peer_addr().ok();
    dial.local = stream.local_addr().ok();
    metrics.on_event(&Event::Opened {
        origin,
        connection,
        dial: &dial,
        elapsed: Duration::ZERO,
    });
}

fn closed(metrics: &SocketMetrics, origin: &Origin, connection: u64) {
    metrics.on_event(&Event::Closed {
        origin,
        connection,
        reason: CloseReason::Idle,
        age: Duration::ZERO,
        served: 1,
    });
}

#[test]
fn sockets_are_counted_by_state_and_closing_side() {
    let name = "sockets_are_counted_by_state_and_closing_side";
    if !namespace::enter(name) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let (metrics, recorder) = (SocketMetrics::new(), Recorder::new());
    let origin = origin(to.port());
    let mut held = Vec::new();
    for connection in 0..5 {
        let near = TcpStream::connect(to).unwrap();
        let (far, _) = listener.accept().unwrap();
        opened(&metrics, &origin, connection, &near);
        held.push((near, far));
    }
    let base = format!("server_address=billing.internal,server_port={}", to.port());
    let sockets = |series: &Series, state| {
        series[&format!("http_client_sockets{{{base},state={state}}}")].to_string()
    };
    let side = |series: &Series, side| {
        series[&format!("http_client_sockets_closed_total{{{base},side={side}}}")].to_string()
    };
    let series = recorder.report(&metrics);
    assert_eq!(sockets(&series, "established"), "5", "{series:#?}");

    let (near, mut far) = held.pop().unwrap();
    drop(near);
    far.read_exact(&mut [0]).unwrap_err();
    drop(far);
    closed(&metrics, &origin, 4);
    for connection in [3, 2] {
        let (mut near, far) = held.pop().unwrap();
        drop(far);
        near.read_exact(&mut [0]).unwrap_err();
        drop(near);
        closed(&metrics, &origin, connection);
    }
    // The peer has closed this one, and the pool has not seen it.
    let (mut leaked, far) = held.pop().unwrap();
    drop(far);
    leaked.read_exact(&mut [0]).unwrap_err();
    let series = recorder.report(&metrics);
    let states = ["established", "time_wait", "close_wait"].map(|state| sockets(&series, state));
    assert_eq!(states, ["1", "1", "1"], "{series:#?}");
    assert_eq!(
        (side(&series, "local"), side(&series, "peer")),
        ("1".into(), "2".into()),
        "{series:#?}"
    );
    let headroom = series[&format!("http_client_port_headroom_ratio{{{base}}}")];
    assert!(headroom > 0.99 && headroom < 1.0, "{headroom}");
    assert!(series["process_fd_headroom_ratio{}"] > 0.5);
}

#[test]
fn port_headroom_falls_below_half_before_eaddrnotavail() {
    let name = "port_headroom_falls_below_half_before_eaddrnotavail";
    if !namespace::enter(name) {
        return;
    }
    namespace::set("net/ipv4/ip_local_port_range", "40000 40199");
    namespace::set("net/ipv4/tcp_tw_reuse", "0");
    let listener = TcpListener::bind("127.0.0.1:80").unwrap();
    let to: SocketAddr = listener.local_addr().unwrap();
    let (metrics, recorder) = (SocketMetrics::new(), Recorder::new());
    let origin = origin(80);
    metrics.watch(&origin, to);
    let gauge = "http_client_port_headroom_ratio{server_address=billing.internal,server_port=80}";
    let mut alarmed_at = None;
    for n in 0..=200 {
        match TcpStream::connect(to) {
            Ok(near) => {
                // A connection that is there to be watched is forgotten with its last socket.
                metrics.watch(&origin, to);
                drop((near, listener.accept().unwrap()));
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
                let alarmed_at: u16 = alarmed_at.expect("an alarm before the error");
                assert!(n == 200 && alarmed_at == 101, "{n}, {alarmed_at}");
                return;
            }
        }
        if alarmed_at.is_none() && recorder.report(&metrics)[gauge] < SLOW_PORTS {
            alarmed_at = Some(n + 1);
        }
    }
    panic!("ports did not run out");
}

#[tokio::test]
async fn spawned_report_runs_until_its_reporter_drops() {
    let metrics = Arc::new(SocketMetrics::new());
    let reporter = metrics.spawn(Duration::from_millis(1));
    let weak = Arc::downgrade(&metrics);
    drop(metrics);
    assert!(weak.upgrade().is_some(), "the task has it");
    drop(reporter);
    tollgate_testing::eventually(|| weak.strong_count() == 0).await;
}

/// Everything emitted: each metric with the keys of its labels.
fn emitted(metrics: &SocketMetrics) -> BTreeMap<String, BTreeSet<String>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    opened(metrics, &origin(80), 1, &near);
    let mut emitted = BTreeMap::<_, BTreeSet<_>>::new();
    for series in Recorder::new().report(metrics).into_keys() {
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap();
        let own = emitted.entry(name.to_owned()).or_default();
        own.extend(
            labels
                .split(',')
                .filter_map(|label| Some(label.split_once('=')?.0.to_owned())),
        );
    }
    emitted
}

#[test]
fn emitted_socket_metrics_match_the_names_table() {
    let table = names::ALL.iter().map(|metric| {
        let labels = metric.labels.iter().map(|label| (*label).to_owned());
        (metric.name.to_owned(), labels.collect())
    });
    assert_eq!(emitted(&SocketMetrics::new()), table.collect());
}

#[test]
fn opentelemetry_names_have_dots_and_prefixes_come_first() {
    let metrics = SocketMetrics::new().opentelemetry().prefix("shop.");
    let emitted = emitted(&metrics);
    let names: BTreeSet<_> = emitted.keys().cloned().collect();
    let table = names::ALL
        .iter()
        .map(|metric| format!("shop.{}", metric.otel));
    assert_eq!(names, table.collect());
    assert!(emitted["shop.http.client.sockets"].contains("server.address"));
}

#[test]
fn the_front_page_has_the_table() {
    let page = include_str!("../src/lib.rs");
    let rows = page.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let rows: Vec<_> = rows.filter(|row| row.contains(" | 1 | ")).collect();
    assert_eq!(rows.len(), names::ALL.len());
    for (row, metric) in rows.iter().zip(names::ALL) {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let expected = format!("{}` | {kind} | 1 | {}", metric.name, labels.join(", "));
        assert!(row.starts_with(expected.trim_end()), "{row}: {expected}");
        assert_eq!(
            metric.kind == Kind::Counter,
            metric.name.ends_with("_total")
        );
        assert!(metric.description.ends_with('.') && metric.otel.contains('.'));
    }
}
