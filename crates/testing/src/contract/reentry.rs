//! The clauses about locks: inner code, drops and wake-ups call back into the layer.
//!
//! A layer that fails them deadlocks its thread, so they run on one of their own.

#![expect(
    clippy::missing_panics_doc,
    reason = "a clause panics where it is broken: see the module"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tollgate_core::BoxError;
use tower_service::Service;

use super::Contract;
use super::act::Act;
use super::control::Control;
use super::drive::Driven;
use crate::deadline::within_real;
use crate::gate::Gate;

/// A thread that takes longer than this, in real time, is deadlocked.
const STUCK: Duration = Duration::from_secs(8);

impl<Req, InnerReq, Resp, S> Contract<Req, InnerReq, Resp, S>
where
    S: Service<Req> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    Req: 'static,
    InnerReq: 'static,
    Resp: 'static,
{
    /// Inner code may call the layer from `poll_ready`, from `call`, from the poll that ends a call
    /// and from the drop of a call's future.
    pub async fn no_lock_is_held_while_inner_code_runs(&self) {
        let this = self.clone();
        on_a_thread(move || async move {
            let (service, control) = this.set_up();
            let reentry = Reentry::new(&this, &service);
            let hook = reentry.clone();
            control.hook(move |_| hook.enter());
            this.exercise(&service, &control).await;
            control.unhook();
            assert!(reentry.entered() > 0, "inner code never ran");
            this.expect_all_places(&service, &control).await;
        })
        .await;
    }

    /// A wake-up may call the layer.
    pub async fn no_lock_is_held_while_someone_is_woken(&self) {
        let this = self.clone();
        on_a_thread(move || async move {
            let (service, control) = this.set_up();
            let gate = Gate::new();
            let wait = gate.clone();
            control.on_call(move |_| Act::answer().when(&wait));
            let reentry = Reentry::new(&this, &service);
            let mut calls: Vec<_> = (0..this.at_once() + 2)
                .map(|_| {
                    let hook = reentry.clone();
                    Driven::waking(this.exchange(&service), move || hook.enter())
                })
                .collect();
            for call in &mut calls {
                assert!(call.rest().await.is_pending());
            }
            gate.open();
            drop(join_all(calls.into_iter().map(Driven::finish)).await);
            assert!(reentry.entered() > 0, "nobody was woken");
            this.expect_all_places(&service, &control).await;
        })
        .await;
    }

    /// Calls that end, and calls that are dropped, waiting or in flight.
    async fn exercise(&self, service: &S, control: &Control) {
        let gate = Gate::new();
        for leaves in [false, true] {
            let wait = gate.clone();
            control.on_call(move |_| Act::answer().when(&wait));
            let mut calls: Vec<_> = (0..self.at_once() + 2)
                .map(|_| Driven::new(self.exchange(service)))
                .collect();
            for call in &mut calls {
                assert!(call.rest().await.is_pending());
            }
            if !leaves {
                // Enough for the calls of the hook as well, each of which may take a pass.
                gate.admit(calls.len() * 4);
                drop(join_all(calls.into_iter().map(Driven::finish)).await);
                gate.close();
            }
        }
        gate.open();
    }
}

/// Calls back into a layer, but not from within such a call.
struct Reentry<Req, S> {
    service: Arc<Mutex<S>>,
    request: Arc<dyn Fn() -> Req + Send + Sync>,
    inside: Arc<AtomicBool>,
    entered: Arc<AtomicUsize>,
}

impl<Req, S> Clone for Reentry<Req, S> {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            request: Arc::clone(&self.request),
            inside: Arc::clone(&self.inside),
            entered: Arc::clone(&self.entered),
        }
    }
}

impl<Req, S: Service<Req> + Clone> Reentry<Req, S> {
    fn new<InnerReq, Resp>(of: &Contract<Req, InnerReq, Resp, S>, service: &S) -> Self {
        Self {
            service: Arc::new(Mutex::new(service.clone())),
            request: Arc::clone(&of.request),
            inside: Arc::default(),
            entered: Arc::default(),
        }
    }

    /// Makes a clone ready, calls it, polls once and drops it all.
    fn enter(&self) {
        if self.inside.swap(true, Ordering::SeqCst) {
            return;
        }
        self.entered.fetch_add(1, Ordering::SeqCst);
        // Cloned out: the lock is open again when the layer is called.
        let service = self.service.lock();
        let mut service = service.unwrap_or_else(PoisonError::into_inner).clone();
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) {
            let mut call = Box::pin(service.call((self.request)()));
            drop(call.as_mut().poll(&mut cx));
        }
        drop(service);
        self.inside.store(false, Ordering::SeqCst);
    }

    fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }
}

/// Runs a test on a thread of its own, which may get stuck.
async fn on_a_thread<F, W>(test: F)
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = ()>,
{
    let (report, outcome) = oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        let runtime = runtime.expect("a runtime can be made");
        let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test())));
        // The waiting task may have given up.
        drop(report.send(result));
    });
    match within_real(STUCK, outcome).await {
        Some(Ok(Ok(()))) => {}
        Some(Ok(Err(panic))) => resume_unwind(panic),
        Some(Err(_)) => panic!("the thread ended without a result"),
        None => panic!("deadlock: the layer holds a lock while it runs code that is not its own"),
    }
}
