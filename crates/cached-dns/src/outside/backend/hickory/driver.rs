//! Runs the machine of a lookup: its queries as futures, its times as timers.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either, FutureExt, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_resolver::proto::rr::Name;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Options;
use super::candidates::Candidates;
use super::machine::{Ask, Failure, Found, Lookup, Outcome, Reply, Step};
use super::route::has_ipv6_route;
use super::setup::Setup;
use crate::addresses::answer::Answer;
use crate::values::error::{LookupError, LookupErrorKind};

/// Looks `host` up: the first of its candidates that has addresses.
pub(super) async fn resolve(
    setup: &Arc<Setup>,
    host: &str,
    options: &Options,
) -> Result<Answer, LookupError> {
    let mut run = Run::new(setup, host, options)?;
    let ipv6_first = options.ipv6_first.unwrap_or_else(has_ipv6_route);
    match run.next().await {
        Outcome::Found {
            found,
            complete,
            pending,
        } => {
            let answer = answer(found, complete, ipv6_first);
            if !pending {
                return Ok(answer);
            }
            let waited = setup.times.resolution_delay;
            Ok(answer.late_after(waited, async move {
                match run.next().await {
                    Outcome::Found { found, .. } => Some(self::answer(found, true, ipv6_first)),
                    _ => None,
                }
            }))
        }
        Outcome::NotFound(ttl) => Err(LookupError::new(LookupErrorKind::NotFound { ttl })),
        Outcome::Failed(error) => Err(error),
        Outcome::Over => Err(LookupError::new(LookupErrorKind::Transient)),
    }
}

fn answer(found: Found, complete: bool, ipv6_first: bool) -> Answer {
    let Found { mut ips, ttl } = found;
    // Stable: within a family the order of the name server stands.
    ips.sort_by_key(|ip| ip.is_ipv6() != ipv6_first);
    let answer = Answer::new(ips.into_iter().map(|ip| SocketAddr::new(ip, 0))).ttl(ttl);
    if complete {
        answer
    } else {
        answer.incomplete()
    }
}

struct Run {
    setup: Arc<Setup>,
    names: Vec<Name>,
    machine: Lookup,
    queries: FuturesUnordered<Query>,
}

/// A query on its way.
struct Query {
    ask: Ask,
    sent: Instant,
    reply: BoxFuture<'static, Reply>,
}

impl Future for Query {
    type Output = (Ask, Reply);

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let ask = self.ask;
        self.reply.poll_unpin(cx).map(|reply| (ask, reply))
    }
}

impl Run {
    fn new(setup: &Arc<Setup>, host: &str, options: &Options) -> Result<Self, LookupError> {
        let names = Candidates::of(setup, host, options.absolute_names)?;
        let now = Instant::now();
        let machine = Lookup::new(
            setup.times,
            setup.seats(now),
            setup.families(),
            names.len(),
            now,
        );
        Ok(Self {
            setup: Arc::clone(setup),
            names,
            machine,
            queries: FuturesUnordered::new(),
        })
    }

    /// Runs to the next outcome.
    async fn next(&mut self) -> Outcome {
        loop {
            let now = Instant::now();
            let Step {
                asks,
                silent,
                outcome,
                wake,
            } = self.machine.step(now);
            // Noted whatever the outcome: the next lookup asks it last.
            for server in silent {
                self.setup.servers[server].failed(Failure::Silent);
            }
            let is_over = match &outcome {
                Some(Outcome::Found { pending, .. }) => !pending,
                outcome => outcome.is_some(),
            };
            // What a step asks that ends the lookup is not sent.
            if !is_over {
                for ask in asks {
                    self.send(ask, now);
                }
            }
            if let Some(outcome) = outcome {
                if is_over {
                    self.follow_overtaken(now);
                }
                return outcome;
            }
            let wake = async {
                match wake {
                    Some(wake) => sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            };
            // Replies go before the timer: at a tie an answer is an answer.
            let reply = async {
                match self.queries.next().await {
                    Some(reply) => reply,
                    None => std::future::pending().await,
                }
            };
            if let Either::Left(((ask, reply), _)) = select(pin!(reply), pin!(wake)).await {
                self.machine.reply(ask, reply);
            }
        }
    }

    fn send(&mut self, ask: Ask, now: Instant) {
        let server = Arc::clone(&self.setup.servers[ask.server]);
        self.queries.push(Query {
            ask,
            sent: now,
            reply: Box::pin(server.ask(self.names[ask.candidate].clone(), ask.family)),
        });
    }

    /// A server that another one overtook is given its time in the background, one query of it: if
    /// it stays silent it has failed, and is asked later next time. Overtaken is not failed.
    fn follow_overtaken(&mut self, now: Instant) {
        let overtaken = self.machine.overtaken(now);
        let silence = self.machine.silence();
        for query in std::mem::take(&mut self.queries) {
            let server = query.ask.server;
            let server = &self.setup.servers[server];
            if overtaken.contains(&query.ask.server) && server.claim_probe() {
                let server = Arc::clone(server);
                let until = query.sent + silence;
                drop(tokio::spawn(async move {
                    let _claim = Claim(Arc::clone(&server));
                    if timeout_at(until, query).await.is_err() {
                        server.failed(Failure::Silent);
                    }
                }));
            }
        }
    }
}

/// The claim of a server's probe, given back also when the task ends with its runtime.
struct Claim(Arc<super::server::Server>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.end_probe();
    }
}
