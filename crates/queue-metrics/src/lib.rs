//! A Tower layer and an observer that make hidden queues visible through the metrics facade.

mod body;
mod dns_series;
mod future;
mod guard;
mod histogram;
mod layer;
pub mod names;
mod pool_metrics;
mod pool_report;
mod report;
mod series;
mod service;
mod service_series;
mod snapshot;
mod spelling;
mod table;
mod trace_events;
mod track;

pub use body::QueueMetricsBody;
pub use future::QueueMetricsFuture;
pub use layer::QueueMetricsLayer;
pub use pool_metrics::{MAX_ORIGINS, PoolMetrics};
pub use report::{REPORT_EVERY, Report, Reporter, spawn_report};
pub use service::QueueMetrics;
pub use service_series::{InFlight, Outcome};
pub use snapshot::{Distribution, NameStats, OriginStats, PoolSnapshot, ServiceStats};
pub use spelling::Naming;
pub use trace_events::TraceEvents;
pub use track::{ToBodyEnd, ToResponse, Track};
