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
        let (mut silent, mut failure) = (Vec::new(), None);
        loop {
            let started = next.next().inspect(|server| {
                asked.push(answer_of(Arc::clone(server), name.clone(), kind));
            });
            let reply = match &started {
                Some(_) if next.len() > 0 => timeout(hedge, asked.next()).await,
                _ => Ok(asked.next().await),
            };
            match reply {
                Ok(Some((server, Ok(reply)))) => {
                    overtaken(&silent, &server);
                    return Ok(reply);
                }
                Ok(Some((_, Err(error)))) => {
                    failure.get_or_insert(error);
                }
                Ok(None) => break,
                Err(_) => silent.extend(started),
            }
        }
        Err(failure.unwrap_or_else(|| LookupError::new(LookupErrorKind::Transient)))
    })
}

async fn answer_of(
    server: Arc<Server>,
    name: Name,
    kind: RecordType,
) -> (Arc<Server>, Result<Reply, LookupError>) {
    let reply = server.ask(name, kind).await;
    (server, reply)
}

/// Servers that were silent until a later one had replied: if they stayed first, each lookup would
/// cost the hedge again, since their questions are dropped before they time out.
fn overtaken(silent: &[Arc<Server>], by: &Arc<Server>) {
    let others = silent.iter().filter(|server| !Arc::ptr_eq(server, by));
    others.for_each(|server| server.was_overtaken());
}

fn in_order(servers: &[Arc<Server>]) -> Vec<Arc<Server>> {
    let now = Instant::now();
    let mut servers = servers.to_vec();
    servers.sort_by_cached_key(|server| server.rank(now));
    servers
}
