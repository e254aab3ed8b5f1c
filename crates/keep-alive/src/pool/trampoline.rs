//! Where the consequences of a transaction run: one after the other, never inside one another.
//!
//! What follows from a change of one origin may change another (a place that is passed on, an idle
//! connection that is reclaimed) or end in a destructor that changes a third (a dial whose runtime is
//! gone). Called from within each other they would be as deep as there are origins. So the first call
//! on a thread works through a queue, and what comes up meanwhile goes to its end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    /// The jobs of this thread that are still to run; `None` while none runs.
    static JOBS: RefCell<Option<VecDeque<Job>>> = const { RefCell::new(None) };
}

type Job = Box<dyn FnOnce()>;

/// Runs a job now, or after those under way on this thread.
pub(super) fn run(job: impl FnOnce() + 'static) {
    let mut job = Some(job);
    let outermost = JOBS.try_with(|jobs| {
        let mut jobs = jobs.borrow_mut();
        if let Some(jobs) = &mut *jobs {
            jobs.extend(job.take().map(|job| Box::new(job) as Job));
            return false;
        }
        *jobs = Some(VecDeque::new());
        true
    });
    // The first runs in its place, unboxed: most transactions have but one.
    if let Some(job) = job {
        contain(job);
    }
    // A thread that is ending has no queue any more, and runs what it has at once.
    if outermost == Ok(true) {
        // Taken out one by one, and the queue not borrowed meanwhile: a job may add to it.
        while let Some(next) = next() {
            contain(next);
        }
    }
}

/// The next job; the queue is gone with the last.
fn next() -> Option<Job> {
    JOBS.with(|jobs| {
        let mut jobs = jobs.borrow_mut();
        let next = jobs.as_mut().and_then(VecDeque::pop_front);
        if next.is_none() {
            *jobs = None;
        }
        next
    })
}

/// A panic of a waker or of a destructor of the caller's ends here: the other jobs are not its own.
fn contain(job: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("a waker, an observer or a destructor panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_chain_of_jobs_needs_no_stack() {
        fn chain(left: usize, ran: Rc<Cell<usize>>) {
            run(move || {
                ran.set(ran.get() + 1);
                if left > 0 {
                    chain(left - 1, ran.clone());
                }
            });
        }
        let ran = Rc::new(Cell::new(0));
        chain(100_000, ran.clone());
        assert_eq!(ran.get(), 100_001);
    }

    #[test]
    fn a_panicking_job_stops_no_other() {
        let ran = Rc::new(Cell::new(false));
        let seen = ran.clone();
        run(move || {
            run(|| panic!("one job"));
            run(move || seen.set(true));
        });
        assert!(ran.get());
    }
}
