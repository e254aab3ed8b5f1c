//! Callers who give up, beside as many who do not.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tollgate::{BoxError, Client, CloseReason};

use crate::body::{Files, Pieces};
use crate::exchange::{describe, exchange};
use crate::{Errors, Options, tell};

/// Callers of each sort.
const CALLERS: u64 = 50;
/// The moments at which calls are given up: at once, when they are on their way, when the server has
/// them, and when their answer is late.
const MOMENTS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(40),
];
/// A body that is on its way when its call is given up.
const UPLOAD: usize = 200_000;

/// What has happened so far.
#[derive(Default)]
struct Counts {
    given_up: AtomicU64,
    answered: AtomicU64,
    /// The longest that a caller who stayed has waited, in milliseconds.
    longest: AtomicU64,
}

/// Gives up as many calls as asked for; returns true if another call failed, or a connection did.
pub(crate) async fn run(
    client: &Client,
    options: &Arc<Options>,
    files: &Files,
) -> Result<bool, BoxError> {
    let counts = Arc::new(Counts::default());
    let began = Instant::now();
    let mut leavers = JoinSet::new();
    let mut others = JoinSet::new();
    for nth in 0..CALLERS {
        let (client, options, counts) = (client.clone(), options.clone(), counts.clone());
        leavers.spawn(give_up(
            client.clone(),
            options.clone(),
            counts.clone(),
            nth,
        ));
        others.spawn(stay(client, options, files.clone(), counts));
    }
    while let Some(left) = leavers.join_next().await {
        left?;
    }
    let mut errors = Errors::new();
    while let Some(stayed) = others.join_next().await {
        for (error, times) in stayed? {
            *errors.entry(error).or_default() += times;
        }
    }
    report(client, options, &counts, began.elapsed(), &errors)
}

/// One caller who gives calls up, each with a body or without, until enough were.
async fn give_up(client: Client, options: Arc<Options>, counts: Arc<Counts>, nth: u64) {
    let (wanted, slow) = (options.cancelled.unwrap_or_default(), options.slow.clone());
    let slow = slow.expect("it is required beside the number");
    for (nth, &moment) in (nth..).zip(MOMENTS.iter().cycle()) {
        if counts.given_up.load(Relaxed) >= wanted {
            return;
        }
        let request = slow_request(&slow, !options.only_get && nth % 3 == 0);
        if timeout(moment, read(&client, request)).await.is_err() {
            counts.given_up.fetch_add(1, Relaxed);
        }
    }
}

fn slow_request(uri: &Uri, with_body: bool) -> Request<Pieces> {
    let mut request = Request::new(Pieces::default());
    *request.uri_mut() = uri.clone();
    if with_body {
        *request.method_mut() = Method::POST;
        *request.body_mut() = Pieces(Bytes::from(vec![b'x'; UPLOAD]));
    }
    request
}

/// A call whose answer comes late, or has a long body: it is read slowly.
async fn read(client: &Client, request: Request<Pieces>) -> Result<(), BoxError> {
    let mut body = client.request(request).await?.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// One caller who stays, until enough of the others' calls were given up; returns what failed.
async fn stay(client: Client, options: Arc<Options>, files: Files, counts: Arc<Counts>) -> Errors {
    let wanted = options.cancelled.unwrap_or_default();
    let mut errors = Errors::new();
    while counts.given_up.load(Relaxed) < wanted {
        let nth = counts.answered.fetch_add(1, Relaxed);
        let began = Instant::now();
        if let Err(error) = exchange(&client, &options, &files, nth).await {
            *errors.entry(describe(&*error)).or_default() += 1;
        }
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        counts.longest.fetch_max(took, Relaxed);
        sleep(Duration::from_millis(2)).await;
    }
    errors
}

/// A connection that the server ended over what callers do is closed with an error, or without a word.
fn report(
    client: &Client,
    options: &Options,
    counts: &Counts,
    took: Duration,
    errors: &Errors,
) -> Result<bool, BoxError> {
    let stats = client.stats(&options.url.to_string());
    let stats = stats.ok_or("nothing was sent")?;
    let killed = stats.closed_for(CloseReason::Error) + stats.closed_for(CloseReason::PeerEof);
    let failed: u64 = errors.values().sum();
    writeln!(
        std::io::stdout(),
        "{}: {} calls given up beside {}, {failed} of these lost, the longest {} ms; {} connections, {killed} of \
         them killed, {:.2} s",
        options.url,
        counts.given_up.load(Relaxed),
        counts.answered.load(Relaxed),
        counts.longest.load(Relaxed),
        stats.opened,
        took.as_secs_f64(),
    )?;
    tell(errors)?;
    Ok(failed > 0 || killed > 0)
}
