//! Tollgate, with the load's numbers.

use http::Uri;
use tollgate_cached_dns::CachedDnsLayer;
use tollgate_core::error::find;
use tollgate_dial::DialLayer;
use tollgate_keep_alive::{KeepAliveError, KeepAliveErrorKind};
use tower::ServiceBuilder;

use crate::BoxError;
use crate::cli::Args;
use crate::client::{Answer, Client, Failure, Pool, drain, kind_of, status};
use crate::site::Site;

#[derive(Clone)]
pub(crate) struct Stack {
    client: tollgate::Client,
    origin: String,
}

impl Stack {
    pub(crate) fn new(args: &Args, site: &Site) -> Result<Self, BoxError> {
        let builder = tollgate::Client::builder()
            .max_connections_per_origin(args.limit.into())
            .max_waiting(args.concurrency.into())
            .acquire_timeout(Args::patience());
        let resolver = site.resolver().clone();
        let client = if site.is_own() {
            builder.resolver(resolver).build()?
        } else {
            // The same layers, put together by hand so that a guard can count the connections.
            let dial = ServiceBuilder::new()
                .layer(DialLayer::new())
                .layer(CachedDnsLayer::new())
                .service(resolver);
            builder.connector(site.meter().connector(dial)).build()?
        };
        let uri = site.uri();
        let host = uri.host().unwrap_or_default();
        Ok(Self {
            client,
            origin: format!("http://{host}:{}", site.port()),
        })
    }
}

impl Client for Stack {
    async fn get(&self, uri: Uri) -> Result<Answer, Failure> {
        let response = self.client.get(uri).await;
        let response = response.map_err(|error| kind(&error))?;
        let status = status(response.status());
        let body = response.into_body();
        let queued = body.timings().queued;
        drain(body).await.map_err(|error| kind(&*error))?;
        status.map(|()| Answer { queued })
    }

    fn pool(&self) -> Pool {
        let Some(stats) = self.client.stats(&self.origin) else {
            return Pool::default();
        };
        Pool {
            open: stats.open,
            connecting: stats.connecting,
            idle: Some(stats.idle),
            active: Some(stats.active),
            queued: Some(stats.queued),
        }
    }
}

/// The pool's own failures first; the rest as for any client.
fn kind(error: &(dyn std::error::Error + 'static)) -> Failure {
    let own = match find::<KeepAliveError>(error).map(KeepAliveError::kind) {
        Some(KeepAliveErrorKind::QueueFull) => "queue_full",
        Some(KeepAliveErrorKind::QueueTimedOut) => "queue_timeout",
        Some(KeepAliveErrorKind::BackingOff) => "backing_off",
        _ => return kind_of(error),
    };
    Failure(own.into())
}
