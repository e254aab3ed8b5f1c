//! A load on a server that ends its connections again and again.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::Method;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tollgate::{BoxError, Client, Error, ErrorKind};

use crate::body::Files;
use crate::exchange::{describe, exchange, request};
use crate::{Errors, Options, tell};

/// What became of the requests that failed.
#[derive(Default)]
struct Lost {
    /// Sent again, they could have been answered.
    wrongly: Errors,
    /// A dial came to nothing: nothing listened, or its server ended in the middle of a handshake.
    failed_dials: u64,
    /// POSTs that were on their way when their connection ended: only their caller may send them again.
    on_their_way: u64,
    /// What the server cut by a reset, after it had said goodbye if it does: POSTs, and bodies in their
    /// middle. A kernel that resets throws away what it has not sent yet, the goodbye too.
    cut_by_reset: u64,
}

/// Runs the command as often as asked for; returns true if a request failed that need not have.
pub(crate) async fn run(
    client: &Client,
    options: &Arc<Options>,
    files: &Files,
) -> Result<bool, BoxError> {
    let over = Arc::new(AtomicBool::new(false));
    let started = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..options.concurrency {
        workers.spawn(load(
            client.clone(),
            options.clone(),
            files.clone(),
            started.clone(),
            over.clone(),
        ));
    }
    let shaken = shake(options).await;
    over.store(true, Relaxed);
    let mut lost = Lost::default();
    while let Some(done) = workers.join_next().await {
        lost.add(done?);
    }
    shaken?;
    let stats = client.stats(&options.url.to_string());
    let wrongly: u64 = lost.wrongly.values().sum();
    writeln!(
        std::io::stdout(),
        "{}: {} requests, shaken {} times, {wrongly} lost that need not be, {} POSTs on their way, {} cut by a reset, {} dials failed; \
         {} connections, {:.2} s",
        options.url,
        started.load(Relaxed),
        options.shakes,
        lost.on_their_way,
        lost.cut_by_reset,
        lost.failed_dials,
        stats.map_or(0, |stats| stats.opened),
        began.elapsed().as_secs_f64(),
    )?;
    tell(&lost.wrongly)?;
    Ok(wrongly > 0)
}

async fn shake(options: &Options) -> Result<(), BoxError> {
    let command = options.shake.as_deref().unwrap_or_default();
    for _ in 0..options.shakes {
        sleep(Duration::from_millis(options.apart)).await;
        let status = Command::new("sh").args(["-c", command]).status().await?;
        if !status.success() {
            return Err(format!("{command} ended with {status}").into());
        }
    }
    sleep(Duration::from_millis(options.apart)).await;
    Ok(())
}

/// One caller, until the last time is over; returns what failed.
async fn load(
    client: Client,
    options: Arc<Options>,
    files: Files,
    started: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
) -> Lost {
    let mut lost = Lost::default();
    while !over.load(Relaxed) {
        let nth = started.fetch_add(1, Relaxed);
        if let Err(error) = exchange(&client, &options, &files, nth).await {
            let is_post = request(&options, &files, nth).method() == Method::POST;
            lost.count(&options, &*error, is_post);
        }
    }
    lost
}

impl Lost {
    fn count(
        &mut self,
        options: &Options,
        error: &(dyn std::error::Error + 'static),
        is_post: bool,
    ) {
        let text = describe(error);
        let lost_post = |error: &Error| is_post && error.kind() == ErrorKind::ClosedAfterSent;
        match error.downcast_ref::<Error>() {
            Some(error) if options.may_refuse && error.is_connect() => self.failed_dials += 1,
            Some(error) if lost_post(error) && !options.says_goodbye => self.on_their_way += 1,
            Some(error) if lost_post(error) && is_reset(&text) => self.cut_by_reset += 1,
            // Of the body: a head has come.
            None if is_reset(&text) => self.cut_by_reset += 1,
            _ => *self.wrongly.entry(text).or_default() += 1,
        }
    }

    fn add(&mut self, other: Self) {
        for (error, times) in other.wrongly {
            *self.wrongly.entry(error).or_default() += times;
        }
        self.failed_dials += other.failed_dials;
        self.on_their_way += other.on_their_way;
        self.cut_by_reset += other.cut_by_reset;
    }
}

/// By the innermost error, as h2 and the system call it.
fn is_reset(text: &str) -> bool {
    text.ends_with("connection reset") || text.contains("Connection reset by peer")
}
