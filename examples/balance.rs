//! tower's `Balance`, `Buffer` and `LoadShed` around Tollgate's client: three replicas, one of them
//! slow, and no queue when all are busy.
//!
//! `Client::origin` makes a service for one origin that is ready only when it has a connection for
//! the next request, which is what these three act on. It starts its own replicas, sends two waves of
//! requests, prints where they went, and fails if that is wrong.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::time::Instant;
use tollgate::{Client, OriginClient};
use tollgate_testing::{Plain, eventually};
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::load_shed::LoadShed;
use tower::load_shed::error::Overloaded;
use tower::{BoxError, Service, ServiceExt};

type Get = Request<Empty<Bytes>>;

/// Connections to each replica.
const CAP: usize = 8;
const LATENCIES: [Duration; 3] = [
    Duration::from_millis(5),
    Duration::from_millis(5),
    Duration::from_millis(50),
];

fn get() -> Get {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = http::Uri::from_static("/");
    request
}

/// Requests that each start when the one before has ended, from so many callers; how many went well.
async fn callers<S, E>(service: &S, callers: usize, requests: usize) -> Result<usize, BoxError>
where
    S: Service<Get, Response = http::Response<tollgate::Body>, Error = E> + Clone,
    E: Into<BoxError>,
{
    let each = (0..callers).map(|_| async {
        for _ in 0..requests {
            let response = service.clone().oneshot(get()).await.map_err(Into::into)?;
            response.into_body().collect().await?;
        }
        Ok::<_, BoxError>(requests)
    });
    join_all(each).await.into_iter().sum()
}

/// The service of each replica, with its connections open: a cold one is not ready, and sheds.
async fn warm(client: &Client, replicas: &[Plain]) -> Result<Vec<OriginClient>, BoxError> {
    let mut services = Vec::new();
    for replica in replicas {
        let origin = replica.uri("/").to_string();
        client.warm(&origin, CAP)?;
        replica.settled(|seen| seen.live == CAP).await;
        services.push(client.origin(&origin)?);
    }
    Ok(services)
}

/// Six hundred requests over all replicas, by their load.
async fn balance(services: &[OriginClient], replicas: &[Plain]) -> Result<(), BoxError> {
    // The one with the fewest requests under way, of two taken at random among those that are ready.
    let endpoints: Vec<_> = services
        .iter()
        .map(|service| PendingRequests::new(service.clone(), CompleteOnResponse::default()))
        .collect();
    let balance = Balance::new(ServiceList::new::<Get>(endpoints));
    // A balancer cannot be cloned; a buffer can.
    let balanced = Buffer::new(balance, 16);
    let started = Instant::now();
    let sent = callers(&balanced, 12, 50).await?;
    let took = started.elapsed();

    let mut out = std::io::stdout();
    let seen: Vec<_> = replicas.iter().map(Plain::stats).collect();
    for (replica, latency) in seen.iter().zip(LATENCIES) {
        writeln!(
            out,
            "{latency:>4?}: {:>3} requests, at most {} at once on {} connections",
            replica.requests, replica.peak_in_flight, replica.accepted
        )?;
    }
    let served: usize = seen.iter().map(|replica| replica.requests).sum();
    writeln!(out, "{sent} sent, {served} served in {took:?}")?;
    if (sent, served) != (600, 600) {
        return Err("a request was lost or sent twice".into());
    }
    if seen.iter().any(|replica| replica.accepted > CAP) {
        return Err("a replica got more connections than the cap".into());
    }
    if seen[2].requests * 2 > seen[0].requests.min(seen[1].requests) {
        return Err("the slow replica got too much".into());
    }
    Ok(())
}

/// Twenty at once to one replica, without a queue: what finds no connection free fails at once.
async fn shed(client: &Client, service: OriginClient) -> Result<(), BoxError> {
    // A balancer keeps its services ready, and with each a connection, until it is gone.
    let origin = service.origin().to_string();
    eventually(|| client.stats(&origin).is_some_and(|stats| stats.idle == CAP)).await;
    let shedding = LoadShed::new(service);
    let wave = join_all((0..20).map(|_| shedding.clone().oneshot(get()))).await;
    let served = wave.iter().filter(|answer| answer.is_ok()).count();
    let errors = || wave.iter().filter_map(|answer| answer.as_ref().err());
    let shed = errors().filter(|error| error.is::<Overloaded>()).count();
    writeln!(
        std::io::stdout(),
        "20 at once: {served} served, {shed} shed"
    )?;
    if (served, shed) == (CAP, 20 - CAP) {
        Ok(())
    } else {
        Err("as many as there are connections are served, and the others shed".into())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut replicas = Vec::new();
    for latency in LATENCIES {
        replicas.push(Plain::builder().latency(latency).start().await);
    }
    let client = Client::builder().max_connections_per_origin(CAP).build()?;
    let mut services = warm(&client, &replicas).await?;
    balance(&services, &replicas).await?;
    shed(&client, services.remove(2)).await
}
