//! The calls of a sequence, each at its stage.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use http::Response;
use http_body_util::BodyExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::runtimes::Runtimes;
use crate::{KeepAliveBody, KeepAliveError};

type Answer = Result<Response<KeepAliveBody>, KeepAliveError>;

/// One call.
pub(super) struct Call {
    pub(super) number: usize,
    pub(super) origin: usize,
    pub(super) made_at: Instant,
    stage: Stage,
    answer: Arc<Mutex<Option<Answer>>>,
    /// Where its task runs.
    runtime: usize,
}

/// A future that was made and not polled.
type Made = Pin<Box<dyn Future<Output = Answer> + Send>>;

enum Stage {
    Made(Made),
    /// Its task waits for the head.
    Runs(JoinHandle<()>),
    /// Its head is there.
    Body(KeepAliveBody),
    /// Its task reads the body.
    Reads(JoinHandle<()>),
    Over,
}

impl Call {
    pub(super) fn new(number: usize, origin: usize, made_at: Instant, call: Made) -> Self {
        Self {
            number,
            origin,
            made_at,
            stage: Stage::Made(call),
            answer: Arc::default(),
            runtime: 0,
        }
    }

    /// Polls it, on a task of its own.
    pub(super) fn start(&mut self, on: &Runtimes, runtime: usize) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Made(call) => {
                let answer = self.answer.clone();
                self.runtime = runtime;
                self.stage = Stage::Runs(on.handle(runtime).spawn(async move {
                    let answered = call.await;
                    *answer.lock().unwrap() = Some(answered);
                }));
            }
            other => self.stage = other,
        }
    }

    /// Reads its body on a task, if it has come to that.
    pub(super) fn read(&mut self, on: &Runtimes) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Body(body) => {
                Stage::Reads(on.handle(self.runtime).spawn(async move {
                    // An error is the peer's.
                    drop(body.collect().await);
                }))
            }
            other => other,
        };
    }

    /// Drops all that there is of it.
    pub(super) fn cancel(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Runs(task) | Stage::Reads(task) => task.abort(),
            Stage::Made(_) | Stage::Body(_) | Stage::Over => {}
        }
        self.answer.lock().unwrap().take();
    }

    /// The runtime has ended, and what there was of it on a task.
    pub(super) fn lose(&mut self, runtime: usize) {
        if self.runtime == runtime && matches!(self.stage, Stage::Runs(_) | Stage::Reads(_)) {
            self.cancel();
        }
    }

    /// Brings its stage up to what its task has done.
    pub(super) fn update(&mut self) {
        let answered = self.answer.lock().unwrap().take();
        match (answered, &self.stage) {
            (Some(Ok(response)), Stage::Runs(_)) => {
                self.stage = Stage::Body(response.into_body());
            }
            (Some(_), _) => self.stage = Stage::Over,
            (None, Stage::Runs(task)) => {
                assert!(!task.is_finished(), "a call panicked: {}", self.number);
            }
            (None, Stage::Reads(task)) if task.is_finished() => self.stage = Stage::Over,
            _ => {}
        }
    }

    /// Its number and its origin.
    pub(super) const fn name(&self) -> (usize, usize) {
        (self.number, self.origin)
    }

    pub(super) const fn is_made(&self) -> bool {
        matches!(self.stage, Stage::Made(_))
    }

    /// Returns true if it is polled and has no head.
    pub(super) const fn runs(&self) -> bool {
        matches!(self.stage, Stage::Runs(_))
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }
}
