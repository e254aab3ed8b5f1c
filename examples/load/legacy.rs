//! hyper-util's legacy client: as it comes, and with a connection for every request.

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper_util::client::legacy::Client as LegacyClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tollgate_testing::io::{Counter, Counting};

use crate::client::{Answer, Client, Failure, Pool, drain, kind_of, status};
use crate::resolver::Addresses;
use crate::site::Site;

type Connector = Counting<HttpConnector<Addresses>>;

#[derive(Clone)]
pub(crate) struct Legacy {
    client: LegacyClient<Connector, Empty<Bytes>>,
    counter: Counter,
    pooled: bool,
}

impl Legacy {
    /// Its own defaults: any number of connections, kept for 90 s.
    pub(crate) fn as_it_comes(site: &Site) -> Self {
        Self::new(site, true)
    }

    /// Keeps nothing, so that each request resolves, connects and closes.
    pub(crate) fn connection_per_request(site: &Site) -> Self {
        Self::new(site, false)
    }

    fn new(site: &Site, pooled: bool) -> Self {
        let connector = HttpConnector::new_with_resolver(site.resolver().addresses());
        let mut builder = LegacyClient::builder(TokioExecutor::new());
        if !pooled {
            builder.pool_max_idle_per_host(0);
        }
        Self {
            client: builder.build(site.counter().connector(connector)),
            counter: site.counter().clone(),
            pooled,
        }
    }
}

impl Client for Legacy {
    async fn get(&self, uri: Uri) -> Result<Answer, Failure> {
        let response = self.client.get(uri).await;
        let response = response.map_err(|error| kind_of(&error))?;
        let status = status(response.status());
        let drained = drain(response.into_body()).await;
        drained.map_err(|error| kind_of(&*error))?;
        status.map(|()| Answer::default())
    }

    /// The client itself tells nothing; this is what the guards in its connections tell.
    fn pool(&self) -> Pool {
        let stats = self.counter.stats();
        let open = stats.live;
        Pool {
            open,
            connecting: stats.dialling,
            // What is never kept is never idle.
            idle: (!self.pooled).then_some(0),
            active: (!self.pooled).then_some(open),
            queued: None,
        }
    }
}
