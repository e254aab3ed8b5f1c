//! One question to several servers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::{Instant, timeout};

use super::server::{Reply, Server};
use crate::error::{LookupError, LookupErrorKind};

/// Asks the best server; the next one at once if it fails, and after `hedge` if it is silent. The
/// first reply counts. If all fail, the first failure is the result.
pub(super) fn ask(
    servers: &[Arc<Server>],
    name: Name,
    kind: RecordType,
    hedge: Duration,
) -> BoxFuture<'static, Result<Reply, LookupError>> {
    let mut next = in_order(servers).into_iter();
    Box::pin(async move {
        let mut asked = FuturesUnordered::new();
        let mut failure = None;
        loop {
            let started = next.next().map(|server| {
                let name = name.clone();
                asked.push(async move { server.ask(name, kind).await });
            });
            let reply = match started {
                Some(()) if next.len() > 0 => timeout(hedge, asked.next()).await,
                _ => Ok(asked.next().await),
            };
            match reply {
                Ok(Some(Ok(reply))) => return Ok(reply),
                Ok(Some(Err(error))) => {
                    failure.get_or_insert(error);
                }
                Ok(None) => break,
                Err(_silence) => {}
            }
        }
        Err(failure.unwrap_or_else(|| LookupError::new(LookupErrorKind::Transient)))
    })
}

fn in_order(servers: &[Arc<Server>]) -> Vec<Arc<Server>> {
    let now = Instant::now();
    let mut servers = servers.to_vec();
    servers.sort_by_cached_key(|server| server.rank(now));
    servers
}
