//! What the cells share: one name, the calls of one cell, and what a layer's metrics must say.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::join_all;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tollgate_cached_dns::{CachedDns, CachedDnsLayer, Hickory};
use tollgate_queue_metrics::{QueueMetricsLayer, Report, names};
use tollgate_testing::dns::{Answer, DnsServer, RecordType};
use tollgate_testing::{DEADLINE, Plain, within};
use tower::Layer;

/// Requests of one cell, all at once.
pub(crate) const CALLS: usize = 40;
/// What the layers under test allow: requests at once, or connections.
pub(crate) const LIMIT: usize = 4;
/// The budget of a connect that fails.
pub(crate) const BUDGET: Duration = Duration::from_millis(150);

/// A DNS server that knows one name, for this machine.
pub(crate) struct Names(DnsServer);

impl Names {
    pub(crate) const HOST: &str = "billing.test";

    pub(crate) async fn start() -> Self {
        let dns = DnsServer::start().await;
        dns.set(Self::HOST, Answer::addrs([Ipv4Addr::LOCALHOST.into()]));
        Self(dns)
    }

    /// A cache over a resolver that asks this server and nobody else.
    pub(crate) fn cached(&self) -> CachedDns<Hickory> {
        let backend = Hickory::with_nameservers([self.0.addr()]).unwrap();
        CachedDnsLayer::new().layer(backend)
    }

    /// How often the name's IPv4 addresses were asked for.
    pub(crate) fn queries(&self) -> usize {
        self.0.count(Self::HOST, RecordType::A)
    }
}

/// An upstream slow enough for calls to pile up.
pub(crate) async fn slow() -> Plain {
    let latency = Duration::from_millis(5);
    Plain::builder().latency(latency).start().await
}

/// An upstream that closes after each answer, so that each request dials.
pub(crate) async fn closing() -> Plain {
    Plain::builder().keep_alive(false).start().await
}

/// The same upstream by its name.
pub(crate) fn by_name(upstream: &Plain) -> String {
    format!("http://{}:{}/", Names::HOST, upstream.addr().port())
}

/// Makes this many calls at once and waits for all of them.
pub(crate) async fn at_once<F: Future<Output = ()>>(calls: usize, call: impl Fn() -> F) {
    within(DEADLINE, join_all((0..calls).map(|_| call()))).await;
}

/// The layer tells the recorder of `calls` calls that went well, and of none in flight.
pub(crate) fn assert_emitted<U: 'static>(layer: &QueueMetricsLayer<U>, calls: usize) {
    let recorder = DebuggingRecorder::new();
    let emitted = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || Report::report(layer));
    let mut seen = (None, None, None);
    for (key, _, _, value) in emitted.snapshot().into_vec() {
        let key = key.key();
        let outcome = key.labels().find(|label| label.key() == "outcome");
        match (key.name(), value) {
            (name, DebugValue::Counter(count))
                if name == names::SERVICE_REQUESTS.name
                    && outcome.is_some_and(|label| label.value() == "ok") =>
            {
                seen.0 = Some(usize::try_from(count).unwrap());
            }
            (name, DebugValue::Histogram(samples))
                if name == names::SERVICE_REQUEST_DURATION.name =>
            {
                seen.1 = Some(samples.len());
            }
            (name, DebugValue::Gauge(active)) if name == names::SERVICE_ACTIVE_REQUESTS.name => {
                seen.2 = Some(active.into_inner().to_string());
            }
            _ => {}
        }
    }
    assert_eq!(seen, (Some(calls), Some(calls), Some("0".to_owned())));
}
