//! The inner service that a layer is put over in tests.

use std::fmt;
use std::future::pending;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tower_service::Service;

use super::act::{Act, End, Moment, ProbeError, Readiness};
use super::control::{Control, InFlight};

type Answer<Req, Resp> = Arc<dyn Fn(&Req) -> Resp + Send + Sync>;

/// A scripted inner service: it answers, waits, fails or panics as its [`Control`] scripts, and
/// watches whether it is used as Tower's contract asks.
///
/// Clones share the control; readiness is each clone's own.
///
/// ```
/// # use tollgate_testing::{Gate, contract::{Act, Probe}};
/// let gate = Gate::new();
/// let probe = Probe::new(|request: &http::Request<()>| request.uri().path().len());
/// let control = probe.control();
/// control.on_call({
///     let gate = gate.clone();
///     move |nth| if nth == 0 { Act::answer().when(&gate) } else { Act::fail() }
/// });
/// // … the probe goes under a layer; afterwards:
/// assert_eq!(control.stats().calls, 0);
/// control.assert_used_well();
/// ```
pub struct Probe<Req, Resp> {
    control: Control,
    answer: Answer<Req, Resp>,
    state: State,
}

enum State {
    Unready,
    Waiting(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
    Ready,
}

impl<Req, Resp> Probe<Req, Resp> {
    /// A probe that answers each request with what `answer` makes of it.
    pub fn new(answer: impl Fn(&Req) -> Resp + Send + Sync + 'static) -> Self {
        Self::with(Arc::new(answer))
    }

    pub(super) fn with(answer: Answer<Req, Resp>) -> Self {
        Self {
            control: Control::default(),
            answer,
            state: State::Unready,
        }
    }

    /// Returns the handle that scripts and watches it.
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

impl<Req, Resp> Clone for Probe<Req, Resp> {
    fn clone(&self) -> Self {
        Self {
            control: self.control.clone(),
            answer: Arc::clone(&self.answer),
            state: State::Unready,
        }
    }
}

impl<Req, Resp> fmt::Debug for Probe<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Probe").field(&self.control).finish()
    }
}

impl<Req: Send + 'static, Resp: 'static> Service<Req> for Probe<Req, Resp> {
    type Response = Resp;
    type Error = ProbeError;
    type Future = ProbeFuture<Resp>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.control.pass(Moment::PollReady);
        if matches!(self.state, State::Unready) {
            match self.control.readiness() {
                Readiness::Now => self.state = State::Ready,
                Readiness::Fails => return Poll::Ready(Err(ProbeError::InPollReady)),
                Readiness::When(gate) => {
                    self.state = State::Waiting(Box::pin(async move { gate.wait().await }));
                }
            }
        }
        if let State::Waiting(wait) = &mut self.state {
            ready!(wait.as_mut().poll(cx));
            self.state = State::Ready;
        }
        Poll::Ready(Ok(()))
    }

    #[track_caller]
    fn call(&mut self, request: Req) -> ProbeFuture<Resp> {
        let caller = Location::caller();
        if !matches!(mem::replace(&mut self.state, State::Unready), State::Ready) {
            self.control
                .misused(format!("called without being ready at {caller}"));
        }
        let act = self.control.called();
        // Before the panic of `PanicInCall`, which drops it again: such a call counts as cancelled.
        let guard = self.control.begin();
        self.control.pass(Moment::Call);
        assert!(
            !matches!(act.end, End::PanicInCall),
            "the probe was told to panic in call"
        );
        ProbeFuture {
            work: Some(Box::pin(work(
                act,
                self.control.clone(),
                request,
                Arc::clone(&self.answer),
            ))),
            guard: Some(guard),
            control: self.control.clone(),
        }
    }
}

async fn work<Req, Resp>(
    act: Act,
    control: Control,
    request: Req,
    answer: Answer<Req, Resp>,
) -> Result<Resp, ProbeError> {
    if let Some(gate) = act.gate {
        gate.wait().await;
    }
    control.pass(Moment::Answer);
    match act.end {
        End::Answer => Ok(answer(&request)),
        End::Fail => Err(ProbeError::InCall),
        End::Hang => pending().await,
        End::Panic | End::PanicInCall => panic!("the probe was told to panic"),
    }
}

type Work<Resp> = Pin<Box<dyn Future<Output = Result<Resp, ProbeError>> + Send>>;

/// A call in progress; counted while it exists and has not ended.
pub struct ProbeFuture<Resp> {
    work: Option<Work<Resp>>,
    guard: Option<InFlight>,
    control: Control,
}

impl<Resp> fmt::Debug for ProbeFuture<Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeFuture")
    }
}

impl<Resp> Future for ProbeFuture<Resp> {
    type Output = Result<Resp, ProbeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else {
            self.control.misused("polled after it had ended".to_owned());
            return Poll::Pending;
        };
        let outcome = ready!(work.as_mut().poll(cx));
        // So that a poll after the end is noticed.
        self.work = None;
        if let Some(guard) = self.guard.take() {
            guard.end();
        }
        Poll::Ready(outcome)
    }
}

impl<Resp> Drop for ProbeFuture<Resp> {
    fn drop(&mut self) {
        self.control.pass(Moment::Drop);
    }
}
