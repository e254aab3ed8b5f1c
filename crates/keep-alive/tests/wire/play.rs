//! How a case is played, and what was seen.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;
use tollgate_core::BoxError;
use tollgate_keep_alive::KeepAliveError;
use tower::ServiceExt;

use crate::client::{self, AnyBody, Client};
use crate::script::{Call, Case, Do, HUNG};
use crate::server::Server;
use crate::stalls::Stalls;

/// The time after which a call of hyper-util's client counts as hung.
const THEIRS_HUNG: Duration = Duration::from_secs(3);

/// What came of a call.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Answer(u16, Bytes),
    /// A head came, and an error in place of the body's end.
    Broke(u16, String),
    Failed(String),
    Hung,
}

/// What was seen in one play of a case.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) outcomes: Vec<Outcome>,
    /// The texts of all errors, each with its chain of sources.
    texts: Vec<String>,
    /// What the server received, by connection.
    pub(crate) received: Vec<Vec<u8>>,
    /// The connections that ours had open at the end; hyper-util's client does not tell.
    pub(crate) open: usize,
    /// The client's thread or the server's did not run for a while.
    stalled: bool,
}

impl Seen {
    /// Each outcome in a few words.
    pub(crate) fn answers(&self) -> Vec<String> {
        self.outcomes.iter().map(ToString::to_string).collect()
    }

    /// Returns true if an error has all of these words, in its text or in those of its sources.
    pub(crate) fn advises(&self, words: &[&str]) -> bool {
        let has_all = |text: &String| words.iter().all(|word| text.contains(word));
        self.texts.iter().any(has_all)
    }

    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }

    pub(crate) fn connections(&self) -> usize {
        self.received.len()
    }

    /// What the server received on one connection, as text.
    pub(crate) fn text(&self, connection: usize) -> String {
        let bytes = self.received.get(connection).map_or(&[][..], Vec::as_slice);
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// How many bytes the server received in all.
    pub(crate) fn bytes(&self) -> usize {
        self.received.iter().map(Vec::len).sum()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHORT: usize = 24;
        match self {
            Self::Answer(status, body) if body.is_empty() => write!(f, "{status}"),
            Self::Answer(status, body) if body.len() <= SHORT && body.is_ascii() => {
                write!(f, "{status} {}", String::from_utf8_lossy(body))
            }
            Self::Answer(status, body) => write!(f, "{status} {} bytes", body.len()),
            Self::Broke(status, error) => write!(f, "{status} broken: {error}"),
            Self::Failed(error) => f.write_str(error),
            Self::Hung => f.write_str("hung"),
        }
    }
}

/// Plays a case against ours and, if it is to be, theirs.
pub(crate) fn both(case: &Case) -> (Seen, Option<Seen>) {
    thread::scope(|scope| {
        let theirs = case.theirs.then(|| scope.spawn(|| play(case, false)));
        let ours = undisturbed(case);
        (ours, theirs.map(|theirs| theirs.join().unwrap()))
    })
}

/// Plays a case against ours, and again where it went wrong beside a stall: the pool's own times are
/// real, so that a stall makes a fresh connection a stale one.
fn undisturbed(case: &Case) -> Seen {
    const PLAYS: usize = 5;
    let mut seen = play(case, true);
    for _ in 1..PLAYS {
        if !seen.stalled || (case.right)(&seen) {
            break;
        }
        seen = play(case, true);
    }
    seen
}

/// One thread for the client, as `#[tokio::main(flavor = "current_thread")]` has it: what blocks it
/// blocks its reactor.
fn play(case: &Case, ours: bool) -> Seen {
    let stalls = Stalls::default();
    let server = Arc::new(Server::start(case, &stalls));
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let mut texts = Vec::new();
    let (outcomes, open) = LocalSet::new().block_on(&runtime.unwrap(), async {
        spawn_local(stalls.clone().watch());
        let (client, pool) = if ours {
            let (client, pool) = client::ours(case, &server);
            (client, Some(pool))
        } else {
            (client::theirs(case), None)
        };
        // What theirs does is not asserted, so that it need not be waited for as long.
        let most = if ours { HUNG } else { THEIRS_HUNG };
        let outcomes = act(case, &client, &server, most, &mut texts).await;
        settle().await;
        let origins = pool.map_or_else(Vec::new, |pool| pool.snapshot().origins);
        (outcomes, origins.iter().map(|origin| origin.open).sum())
    });
    let received = server.received.lock().unwrap().clone();
    Seen {
        outcomes,
        texts,
        received,
        open,
        stalled: stalls.were_seen(),
    }
}

async fn act(
    case: &Case,
    client: &Client,
    server: &Arc<Server>,
    most: Duration,
    texts: &mut Vec<String>,
) -> Vec<Outcome> {
    let (mut outcomes, mut started) = (Vec::new(), Vec::new());
    let mut done = |(outcome, text): Told| {
        texts.extend(text);
        outcome
    };
    let mut kept = Vec::new();
    let begin = |call: &Call| {
        let limit = call.limit.min(most);
        exchange(client.clone(), call.clone(), server.clone(), limit)
    };
    for act in &case.client {
        match act {
            Do::Call(call) => outcomes.push(done(begin(call).await)),
            Do::Drop(call) | Do::Hold(call) => {
                let (outcome, response) = unread(client, call, server, most).await;
                outcomes.push(outcome);
                kept.extend(response.filter(|_| matches!(act, Do::Hold(_))));
            }
            Do::Start(call) => started.push(spawn_local(begin(call))),
            Do::Reached(marks) => {
                let reached = timeout(most, server.marks.reached(*marks)).await;
                if reached.is_err() {
                    outcomes.push(Outcome::Failed(format!("no mark {marks}")));
                }
            }
            Do::Blocked(marks) => server.marks.block_until(*marks),
            Do::Mark => server.client_marks.count(),
            Do::Settle => settle().await,
        }
    }
    for call in started {
        outcomes.push(done(call.await.unwrap()));
    }
    outcomes
}

/// Turns of the runtime, each of which looks at the reactor.
async fn settle() {
    const TURNS: usize = 1_000;
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// A call whose response's body is not read.
async fn unread(
    client: &Client,
    call: &Call,
    server: &Server,
    most: Duration,
) -> (Outcome, Option<Response<AnyBody>>) {
    let request = client::request(call, server);
    match timeout(call.limit.min(most), client.clone().oneshot(request)).await {
        Ok(Ok(response)) => {
            let answer = Outcome::Answer(response.status().as_u16(), Bytes::new());
            (answer, Some(response))
        }
        Ok(Err(error)) => (Outcome::Failed(named(&error)), None),
        Err(_) => (Outcome::Hung, None),
    }
}

/// An outcome, and the text of its error with those of its sources.
type Told = (Outcome, Option<String>);

async fn exchange(client: Client, call: Call, server: Arc<Server>, limit: Duration) -> Told {
    let request = client::request(&call, &server);
    let told = async {
        let response = match client.oneshot(request).await {
            Ok(response) => response,
            Err(error) => return (Outcome::Failed(named(&error)), Some(whole(&error))),
        };
        let status = response.status().as_u16();
        match response.into_body().collect().await {
            Ok(body) => (Outcome::Answer(status, body.to_bytes()), None),
            Err(error) => {
                let broke = Outcome::Broke(status, innermost(&error));
                (broke, Some(whole(&error)))
            }
        }
    };
    timeout(limit, told).await.unwrap_or((Outcome::Hung, None))
}

/// The kind of our errors, the innermost text of theirs.
fn named(error: &BoxError) -> String {
    match error.downcast_ref::<KeepAliveError>() {
        Some(error) => format!("{:?}", error.kind()),
        None => innermost(error),
    }
}

fn whole(error: &BoxError) -> String {
    let chain = tollgate_core::error::chain(&**error);
    let texts: Vec<_> = chain.map(ToString::to_string).collect();
    texts.join(": ")
}

fn innermost(error: &BoxError) -> String {
    let mut error: &dyn std::error::Error = &**error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
