//! A and AAAA, apart.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::timeout;

use super::Options;
use super::failover::ask;
use super::route::has_ipv6_route;
use super::server::Reply;
use super::setup::Setup;
use crate::answer::Answer;
use crate::error::{LookupError, LookupErrorKind};

type Asked = Result<Reply, LookupError>;

/// Asks for both families at once. When the first has addresses, the second has the resolution
/// delay to come too; after that the answer goes out, and the rest follows.
pub(super) async fn resolve(
    setup: &Setup,
    name: &Name,
    options: &Options,
) -> Result<Answer, LookupError> {
    let asking = |kind| ask(&setup.servers, name.clone(), kind, options.hedge);
    let (first, mut other) = first_of(asking(RecordType::A), asking(RecordType::AAAA)).await;
    let ipv6_first = options.ipv6_first.unwrap_or_else(has_ipv6_route);
    if !matches!(first, Ok(Reply::Found { .. })) {
        return both(first, other.await, ipv6_first);
    }
    if let Ok(second) = timeout(options.resolution_delay, &mut other).await {
        both(first, second, ipv6_first)
    } else {
        let limit = options.late_limit;
        let rest = late(first.clone(), other, limit, ipv6_first);
        let waited = options.resolution_delay;
        both(first, Err(missing()), ipv6_first).map(|answer| answer.late_after(waited, rest))
    }
}

async fn first_of(
    a: BoxFuture<'static, Asked>,
    b: BoxFuture<'static, Asked>,
) -> (Asked, BoxFuture<'static, Asked>) {
    match select(a, b).await {
        Either::Left(done) | Either::Right(done) => done,
    }
}

async fn late(
    first: Asked,
    other: BoxFuture<'static, Asked>,
    limit: Duration,
    ipv6_first: bool,
) -> Option<Answer> {
    let second = timeout(limit, other).await.ok()?;
    let whole = both(first, second, ipv6_first).ok()?;
    whole.complete.then_some(whole)
}

/// Puts the families together, whichever is which. "Not found" needs both; a failure counts when
/// there is no address.
fn both(first: Asked, second: Asked, ipv6_first: bool) -> Result<Answer, LookupError> {
    let (mut ips, mut ttl, mut complete) = (Vec::new(), None::<Duration>, true);
    let (mut negative, mut failure) = (None, None);
    for reply in [first, second] {
        match reply {
            Ok(Reply::Found {
                ips: found,
                ttl: found_ttl,
            }) => {
                ips.extend(found);
                ttl = Some(ttl.map_or(found_ttl, |ttl| ttl.min(found_ttl)));
            }
            Ok(Reply::NotFound { ttl }) => negative = [negative, ttl].into_iter().flatten().min(),
            Err(error) => {
                complete = false;
                failure.get_or_insert(error);
            }
        }
    }
    let Some(ttl) = ttl else {
        let not_found = LookupErrorKind::NotFound { ttl: negative };
        return Err(failure.unwrap_or_else(|| LookupError::new(not_found)));
    };
    ips.sort_by_key(|ip: &IpAddr| ip.is_ipv6() != ipv6_first);
    let answer = Answer::new(ips.into_iter().map(|ip| SocketAddr::new(ip, 0))).ttl(ttl);
    Ok(if complete {
        answer
    } else {
        answer.incomplete()
    })
}

fn missing() -> LookupError {
    LookupError::new(LookupErrorKind::TimedOut)
}
