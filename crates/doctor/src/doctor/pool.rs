//! An application's pool, from its `/stats`: limits against what its load wants.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_core::BoxError;
use tollgate_queue_metrics::Advice;

use super::report::Check;
use super::words::percent;
use crate::stats::{OriginStats, Stats, StatsClient};

/// The number of samples, and the time between two.
const LOOKS: u32 = 20;
const EVERY: Duration = Duration::from_millis(250);

/// Fewer requests in that time say too little.
const FEW: u64 = 100;

/// Fewer looks without a queue say nothing of how bursty arrivals are.
const FEW_LOOKS: usize = 10;

pub(crate) async fn examine(url: &str) -> Vec<Check> {
    match look(url).await {
        Ok(looks) => checks(&looks),
        Err(error) => vec![Check::skipped("limit", format!("{url}: {error}"))],
    }
}

async fn look(url: &str) -> Result<Vec<Stats>, BoxError> {
    let client = StatsClient::new(url)?;
    let mut looks = vec![client.get().await?];
    for _ in 1..LOOKS {
        tokio::time::sleep(EVERY).await;
        looks.push(client.get().await?);
    }
    Ok(looks)
}

fn checks(looks: &[Stats]) -> Vec<Check> {
    let mut by_origin: BTreeMap<&str, Vec<&OriginStats>> = BTreeMap::new();
    for origin in looks.iter().flat_map(|look| &look.origins) {
        by_origin.entry(&origin.origin).or_default().push(origin);
    }
    let mut checks = Vec::new();
    for (origin, looks) in by_origin {
        checks.push(limit(origin, &looks));
        checks.push(refusals(origin, &looks));
    }
    if checks.is_empty() {
        checks.push(Check::skipped("limit", "the pool has no origin"));
    }
    checks
}

/// The limit beside the advice for the load that was seen.
fn limit(origin: &str, looks: &[&OriginStats]) -> Check {
    let id = "limit";
    let (Some(first), Some(last)) = (looks.first(), looks.last()) else {
        return Check::skipped(id, "no look at it");
    };
    // An application that was restarted meanwhile begins at zero again.
    let requests = last.requests.saturating_sub(first.requests);
    let granted = last.granted.saturating_sub(first.granted);
    if requests < FEW || granted == 0 {
        return Check::skipped(
            id,
            format!("{origin}: {requests} requests in 5 s are too few to advise on"),
        );
    }
    let mean = mean(looks.iter().map(|look| look.in_flight));
    // Little's law: each request holds a connection for (in flight ÷ granted a second); times those that come.
    let load = mean * float(requests) / float(granted);
    let Some(advice) = Advice::for_load(load, burstiness(looks), last.limit) else {
        return Check::skipped(id, format!("{origin}: no advice for its load"));
    };
    let of = last
        .limit
        .map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    let summary = format!("{origin}: limit {of}, advice {}", advice.connections);
    if last.limit.is_none_or(|limit| limit >= advice.connections) {
        return Check::ok(id, summary);
    }
    Check::warning(id, summary)
        .evidence(format!(
            "offered load {:.1}, burstiness {:.1}: {} of requests wait, 1 % would",
            advice.offered_load,
            advice.burstiness,
            percent(advice.waiting_now.unwrap_or(0.0)),
        ))
        .option(format!(
            "max_connections_per_origin({}), unless the origin is slower the more it gets",
            advice.connections
        ))
}

/// Variance over mean of what is in flight, from looks at which nothing waited.
fn burstiness(looks: &[&OriginStats]) -> f64 {
    let calm: Vec<_> = looks
        .iter()
        .filter(|look| look.queued == 0)
        .map(|look| look.in_flight)
        .collect();
    let mean = mean(calm.iter().copied());
    if calm.len() < FEW_LOOKS || mean <= 0.0 {
        return 1.0;
    }
    let squares = calm
        .iter()
        .map(|one| (float(*one) - mean).powi(2))
        .sum::<f64>();
    // Arrivals more regular than chance are nothing to rely on.
    (squares / float(calm.len() as u64) / mean).max(1.0)
}

fn refusals(origin: &str, looks: &[&OriginStats]) -> Check {
    let id = "refusals";
    let (Some(first), Some(last)) = (looks.first(), looks.last()) else {
        return Check::skipped(id, "no look at it");
    };
    let since = |of: fn(&OriginStats) -> u64| of(last).saturating_sub(of(first));
    let (full, late, failed) = (
        since(|s| s.refused),
        since(|s| s.timed_out),
        since(|s| s.failed),
    );
    if full + late + failed == 0 {
        return Check::ok(id, format!("{origin}: nothing refused in 5 s"));
    }
    Check::critical(id, format!("{origin}: {} requests refused in 5 s", full + late + failed))
        .evidence(format!("{full} found the queue full, {late} waited too long, {failed} failed with a dial"))
        .option("the limit if there is advice to raise it; else send less: the origin is slower than its load")
}

fn mean(values: impl ExactSizeIterator<Item = u64>) -> f64 {
    let count = values.len().max(1) as u64;
    float(values.sum()) / float(count)
}

#[expect(clippy::cast_precision_loss, reason = "a statistic")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Status;

    fn looks(limit: u64, in_flight: u64, a_look: u64) -> Vec<Stats> {
        let one = |n: u64| OriginStats {
            origin: "http://billing".into(),
            limit: Some(limit),
            in_flight,
            requests: n * a_look,
            granted: n * a_look,
            ..OriginStats::default()
        };
        let look = |n| Stats {
            origins: vec![one(n)],
            ..Stats::default()
        };
        (0..20).map(look).collect()
    }

    #[test]
    fn limit_below_advice_warns_with_the_advised_number() {
        let found = checks(&looks(5, 5, 100));
        assert_eq!(found[0].status, Status::Warning);
        // Five in use all the time want twelve.
        assert!(
            found[0].option.as_ref().unwrap().contains("(12)"),
            "{found:?}"
        );
        assert_eq!(checks(&looks(12, 5, 100))[0].status, Status::Ok);
        assert_eq!(checks(&looks(5, 5, 2))[0].status, Status::Skipped);
    }

    #[test]
    fn refusals_while_it_was_looked_at_are_critical() {
        let mut all = looks(64, 5, 100);
        all[19].origins[0].timed_out = 3;
        let found = checks(&all);
        assert_eq!(
            (found[1].id, found[1].status),
            ("refusals", Status::Critical)
        );
    }
}
