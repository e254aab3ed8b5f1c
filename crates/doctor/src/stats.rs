//! The `/stats` of an application: the JSON of `tollgate::Client::snapshot`.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use tollgate::Client;
use tollgate_core::BoxError;

/// A thousand origins are half a megabyte.
const MAX_BODY: usize = 16 << 20;

const PATIENCE: Duration = Duration::from_secs(5);

/// The part of a snapshot that is read; fields that are not there are zero.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    pub(crate) origins: Vec<OriginStats>,
    pub(crate) sockets: Vec<SocketRow>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OriginStats {
    pub(crate) origin: String,
    pub(crate) open: u64,
    pub(crate) idle: u64,
    pub(crate) active: u64,
    pub(crate) in_flight: u64,
    pub(crate) connecting: u64,
    pub(crate) queued: u64,
    pub(crate) limit: Option<u64>,
    pub(crate) requests: u64,
    pub(crate) granted: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) timed_out: u64,
    pub(crate) waited: u64,
    pub(crate) wait_time: Duration,
}

/// A row of the facade's feature `sockets`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SocketRow {
    pub(crate) remote: String,
    pub(crate) sockets: std::collections::BTreeMap<String, u64>,
    pub(crate) ports_taken: u64,
    pub(crate) ports: u64,
}

/// Asks one URL again and again.
pub(crate) struct StatsClient {
    client: Client,
    url: String,
}

impl StatsClient {
    pub(crate) fn new(url: &str) -> Result<Self, BoxError> {
        let client = Client::builder()
            .max_connections_per_origin(1)
            .response_timeout(PATIENCE)
            .body_idle_timeout(PATIENCE)
            .build()?;
        let url = url.to_owned();
        Ok(Self { client, url })
    }

    pub(crate) async fn get(&self) -> Result<Stats, BoxError> {
        let response = self.client.get(self.url.as_str()).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("the answer is {status}").into());
        }
        // A URL that is not a `/stats` may answer without end.
        let body = Limited::new(response.into_body(), MAX_BODY)
            .collect()
            .await?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }
}
