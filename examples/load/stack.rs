//! Tollgate, with the load's numbers.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use tollgate_cached_dns::CachedDnsLayer;
use tollgate_core::error::find;
use tollgate_dial::DialLayer;
use tollgate_keep_alive::{KeepAliveError, KeepAliveErrorKind, OriginStats};
use tollgate_queue_metrics::QueueMetrics;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::BoxError;
use crate::cli::Args;
use crate::client::{Answer, Client, Failure, Pool, drain, kind_of, status};
use crate::serve::Metrics;
use crate::site::Site;

#[derive(Clone)]
pub(crate) struct Stack {
    client: tollgate::Client,
    /// The client under the layer that measures it, if somebody looks.
    measured: Option<QueueMetrics<tollgate::Client>>,
}

impl Stack {
    pub(crate) fn new(
        args: &Args,
        site: &Site,
        metrics: Option<&Metrics>,
    ) -> Result<Self, BoxError> {
        let mut builder = tollgate::Client::builder()
            .max_connections_per_origin(args.limit.into())
            .max_waiting(args.max_waiting())
            .acquire_timeout(Args::patience());
        if let Some(metrics) = metrics {
            builder = builder.observer(metrics.pool());
        }
        let resolver = site.resolver().clone();
        let client = if site.is_own() {
            builder.resolver(resolver).build()?
        } else {
            // The same layers, put together by hand so that a guard can count the connections.
            let dial = ServiceBuilder::new()
                .layer(DialLayer::new())
                .layer(CachedDnsLayer::new())
                .service(resolver);
            builder.connector(site.counter().connector(dial)).build()?
        };
        Ok(Self {
            measured: metrics.map(|metrics| metrics.layer().layer(client.clone())),
            client,
        })
    }
}

impl Stack {
    pub(crate) fn client(&self) -> &tollgate::Client {
        &self.client
    }
}

impl Client for Stack {
    async fn get(&self, uri: Uri) -> Result<Answer, Failure> {
        let Some(measured) = &self.measured else {
            let response = self.client.get(uri).await;
            return read(response, |body| body.timings().queued).await;
        };
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri;
        let response = measured.clone().oneshot(request).await;
        read(response, |body| body.get_ref().timings().queued).await
    }

    fn pool(&self) -> Pool {
        let origins = self.client.snapshot().origins;
        let sum = |of: fn(&OriginStats) -> usize| origins.iter().map(of).sum();
        Pool {
            open: sum(|origin| origin.open),
            connecting: sum(|origin| origin.connecting),
            idle: Some(sum(|origin| origin.idle)),
            active: Some(sum(|origin| origin.active)),
            queued: Some(sum(|origin| origin.queued)),
        }
    }
}

/// Reads an answer, whatever is round its body.
async fn read<B>(
    response: Result<Response<B>, tollgate::Error>,
    queued: impl FnOnce(&B) -> Duration,
) -> Result<Answer, Failure>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let response = response.map_err(|error| kind(&error))?;
    let status = status(response.status());
    let body = response.into_body();
    let queued = queued(&body);
    drain(body).await.map_err(|error| kind(&*error))?;
    status.map(|()| Answer { queued })
}

/// The pool's own failures first; the rest as for any client.
fn kind(error: &(dyn std::error::Error + 'static)) -> Failure {
    let own = match find::<KeepAliveError>(error).map(KeepAliveError::kind) {
        Some(KeepAliveErrorKind::QueueFull) => "queue_full",
        Some(KeepAliveErrorKind::QueueTimeout) => "queue_timeout",
        Some(KeepAliveErrorKind::BackingOff) => "backing_off",
        _ => return kind_of(error),
    };
    Failure(own.into())
}
