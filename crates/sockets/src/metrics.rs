//! Gauges of each origin's sockets.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};
use tollgate_core::lock::lock;
use tollgate_core::{Event, Observer, Origin};

use crate::known::{Known, Reading, Row};
use crate::names::{self, Kind, Metric};
use crate::{ClosedFirst, Files, Ports, Sockets, SocketsError, TcpState};

static METADATA: Metadata<'static> =
    Metadata::new("tollgate::sockets", Level::INFO, Some(module_path!()));

/// The states that a connection which went out can be in.
const STATES: [TcpState; 8] = [
    TcpState::Established,
    TcpState::SynSent,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::TimeWait,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::Closing,
];

/// Gauges of what the kernel knows of each origin's sockets, through the `metrics` facade.
///
/// As an [`Observer`] of a pool it learns which addresses each origin has and which connections were
/// closed; [`watch`](Self::watch) adds addresses that no pool of Tollgate's dials. It touches
/// nothing on the path of a request: only opened and closed connections, under one lock.
///
/// At most 100 origins have series of their own, and the rest share `_other`; of one origin at most
/// 64 addresses are looked at.
#[derive(Default)]
pub struct SocketMetrics {
    /// Guards what was learnt. The kernel and the recorder are asked outside of it.
    known: Mutex<Known>,
    prefix: String,
    opentelemetry: bool,
}

impl SocketMetrics {
    /// One that knows no origin yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `prefix` before each name. None by default.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Writes names and labels as OpenTelemetry does: `http.client.sockets{server.address="…"}`.
    #[must_use]
    pub fn opentelemetry(mut self) -> Self {
        self.opentelemetry = true;
        self
    }

    /// Counts sockets to `addr` as `origin`'s, until there are none any more.
    pub fn watch(&self, origin: &Origin, addr: SocketAddr) {
        self.known_locked().learn(origin, addr);
    }

    /// Reads the kernel's tables and carries the numbers to the recorder that is installed now.
    ///
    /// Every series is registered anew, so a recorder may come late, and series that an exporter
    /// dropped for idleness come back. It blocks as long as [`Sockets::read`] does.
    ///
    /// # Errors
    ///
    /// If this is not Linux, or nothing can be read; the gauges then stay as they are.
    pub fn report(&self) -> Result<(), SocketsError> {
        let reading = Reading {
            sockets: Sockets::read()?,
            ports: Ports::read()?,
            // Without it the numbers of sockets are still true.
            files: Files::read().ok(),
        };
        let rows = self.known_locked().rows(&reading);
        metrics::with_recorder(|recorder| self.write(recorder, &rows, reading.files));
        Ok(())
    }

    /// Reports now and then `every` so often, on a thread for blocking work, until the
    /// [`SocketReporter`] is dropped. An `every` below a millisecond counts as one. It ends by itself
    /// where nothing can be read.
    ///
    /// `TIME_WAIT` lasts a minute: with reports further apart the side that closed first is not known.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    pub fn spawn(self: &Arc<Self>, every: Duration) -> SocketReporter {
        let metrics = Arc::clone(self);
        SocketReporter(Some(tokio::spawn(async move {
            // An interval of zero panics.
            let mut ticks = interval(every.max(Duration::from_millis(1)));
            // The kernel's table is not walked twice in a row for a report that was missed.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let metrics = Arc::clone(&metrics);
                if !matches!(spawn_blocking(move || metrics.report()).await, Ok(Ok(()))) {
                    return;
                }
            }
        })))
    }

    fn known_locked(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    fn write(&self, recorder: &dyn Recorder, rows: &[Row], files: Option<Files>) {
        for metric in names::ALL {
            self.describe(recorder, metric);
        }
        for row in rows {
            let origin = [
                (names::SERVER_ADDRESS, row.label.address.clone()),
                (names::SERVER_PORT, row.label.port.to_string()),
            ];
            for state in STATES {
                let count = row.sockets.of(state);
                let labels = with(&origin, (names::STATE, state.label()));
                self.gauge(recorder, &names::SOCKETS, &labels, float(count));
            }
            self.gauge(recorder, &names::PORT_HEADROOM, &origin, row.headroom);
            for (side, count) in ClosedFirst::ALL.iter().zip(row.closed) {
                let labels = with(&origin, (names::SIDE, side.label()));
                let key = self.key(&names::CLOSED, &labels);
                recorder.register_counter(&key, &METADATA).absolute(count);
            }
        }
        if let Some(files) = files {
            self.gauge(recorder, &names::FD_HEADROOM, &[], files.headroom());
        }
    }

    fn describe(&self, recorder: &dyn Recorder, metric: &Metric) {
        let (name, unit) = (KeyName::from(self.name(metric)), Some(Unit::Count));
        let description = SharedString::const_str(metric.description);
        match metric.kind {
            Kind::Gauge => recorder.describe_gauge(name, unit, description),
            Kind::Counter => recorder.describe_counter(name, unit, description),
        }
    }

    fn gauge(&self, to: &dyn Recorder, metric: &Metric, labels: &[(&str, String)], value: f64) {
        to.register_gauge(&self.key(metric, labels), &METADATA)
            .set(value);
    }

    fn name(&self, metric: &Metric) -> String {
        let name = if self.opentelemetry {
            metric.otel
        } else {
            metric.name
        };
        format!("{}{name}", self.prefix)
    }

    fn key(&self, metric: &Metric, labels: &[(&str, String)]) -> Key {
        let spelled = |(key, value): &(&str, String)| {
            let key = if self.opentelemetry {
                // The first one alone parts namespace and name: `server.address`.
                key.replacen('_', ".", 1)
            } else {
                (*key).to_owned()
            };
            Label::new(key, value.clone())
        };
        Key::from_parts(
            self.name(metric),
            labels.iter().map(spelled).collect::<Vec<_>>(),
        )
    }
}

fn with<'a>(origin: &[(&'a str, String)], (key, value): (&'a str, &str)) -> Vec<(&'a str, String)> {
    let own = [(key, value.to_owned())];
    origin.iter().cloned().chain(own).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "there are fewer sockets than 2^52"
)]
fn float(count: u64) -> f64 {
    count as f64
}

impl Observer for SocketMetrics {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::Opened {
                origin,
                connection,
                dial,
                ..
            } => {
                let Some(remote) = dial.remote else { return };
                let mut known = self.known_locked();
                known.learn(origin, remote);
                if let Some(local) = dial.local {
                    known.opened(*connection, (local, remote));
                }
            }
            Event::Closed {
                origin, connection, ..
            } => self.known_locked().closed(origin, *connection),
            _ => {}
        }
    }
}

impl fmt::Debug for SocketMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketMetrics").finish_non_exhaustive()
    }
}

/// A running report: dropping it stops it.
#[derive(Debug)]
#[must_use = "dropping it stops the report; detach it to let it run"]
pub struct SocketReporter(Option<JoinHandle<()>>);

impl SocketReporter {
    /// Lets the report run for as long as the runtime does.
    pub fn detach(mut self) {
        drop(self.0.take());
    }
}

impl Drop for SocketReporter {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            // A reading that has begun goes on to its end: it runs on a thread, which cannot be
            // cancelled.
            task.abort();
        }
    }
}
