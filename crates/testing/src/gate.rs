//! A gate: code under test waits there until the test opens it.

use std::panic::Location;
use std::sync::Arc;

use crate::board::Board;

/// A gate: closed when made, opened for all by [`open`](Self::open) or for some by
/// [`admit`](Self::admit). Clones are the same gate.
///
/// ```
/// # use tollgate_testing::Gate;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let gate = Gate::new();
/// let work = tokio::spawn({
///     let gate = gate.clone();
///     async move { gate.wait().await }
/// });
/// gate.reached(1).await; // the work stands at the gate now
/// gate.open();
/// work.await.unwrap();
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Board<State>>);

#[derive(Debug, Default)]
struct State {
    open: bool,
    passes: usize,
    waiting: usize,
    arrived: usize,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// An open gate, to be closed later.
    pub fn opened() -> Self {
        let gate = Self::new();
        gate.open();
        gate
    }

    /// Lets everyone through, now and later.
    pub fn open(&self) {
        self.0.update(|state| state.open = true);
    }

    /// Closes the gate: arrivals from now on wait.
    pub fn close(&self) {
        self.0.update(|state| {
            state.open = false;
            // Passes that were not used are gone too, or the closed gate would let their number
            // through.
            state.passes = 0;
        });
    }

    /// Lets `n` more through, the first to arrive.
    pub fn admit(&self, n: usize) {
        self.0.update(|state| state.passes += n);
    }

    /// Returns true if the gate is open.
    pub fn is_open(&self) -> bool {
        self.0.read(|state| state.open)
    }

    /// Returns the number of tasks that wait at the gate; one that is dropped counts no more.
    pub fn waiters(&self) -> usize {
        self.0.read(|state| state.waiting)
    }

    /// Returns the number of arrivals since the gate was made, let through or not.
    pub fn arrivals(&self) -> usize {
        self.0.read(|state| state.arrived)
    }

    /// Stands at the gate until let through. A dropped wait uses up no pass.
    pub async fn wait(&self) {
        self.0.update(|state| {
            state.waiting += 1;
            state.arrived += 1;
        });
        // Before the wait: one that is dropped in it is counted out.
        let _leave = Leave(&self.0);
        self.0
            .take(|state| {
                if state.open {
                    return Some(());
                }
                state.passes = state.passes.checked_sub(1)?;
                Some(())
            })
            .await;
    }

    /// Waits until at least `n` stand at the gate.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`](crate::DEADLINE) of real time.
    #[track_caller]
    pub fn reached(&self, n: usize) -> impl Future<Output = ()> {
        self.settled(Location::caller(), move |waiting| waiting >= n)
    }

    /// Waits until no task waits at the gate.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`](crate::DEADLINE) of real time.
    #[track_caller]
    pub fn deserted(&self) -> impl Future<Output = ()> {
        self.settled(Location::caller(), |waiting| waiting == 0)
    }

    fn settled(
        &self,
        caller: &'static Location<'static>,
        holds: impl Fn(usize) -> bool,
    ) -> impl Future<Output = ()> {
        let board = Arc::clone(&self.0);
        async move {
            board
                .until(caller, |state| state.waiting, |waiting| holds(*waiting))
                .await;
        }
    }
}

struct Leave<'a>(&'a Board<State>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.update(|state| state.waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[test]
    fn gate_holds_waiters_until_it_opens() {
        let gate = Gate::new();
        let mut wait = task::spawn(gate.wait());
        assert_pending!(wait.poll());
        assert_eq!(gate.waiters(), 1);
        gate.open();
        assert!(wait.is_woken());
        assert_ready!(wait.poll());
        assert_ready!(task::spawn(gate.wait()).poll());
        drop(wait);
        assert_eq!((gate.waiters(), gate.arrivals()), (0, 2));
    }

    #[test]
    fn each_pass_lets_one_through() {
        let gate = Gate::new();
        let mut one = task::spawn(gate.wait());
        let mut two = task::spawn(gate.wait());
        assert_pending!(one.poll());
        assert_pending!(two.poll());
        gate.admit(1);
        assert_ready!(two.poll());
        assert_pending!(one.poll());
    }

    #[test]
    fn dropped_wait_is_uncounted_and_uses_no_pass() {
        let gate = Gate::new();
        let mut gone = task::spawn(gate.wait());
        assert_pending!(gone.poll());
        gate.admit(1);
        drop(gone);
        assert_eq!(gate.waiters(), 0);
        assert_ready!(task::spawn(gate.wait()).poll());
    }

    #[test]
    fn a_gate_can_be_closed_again() {
        let gate = Gate::opened();
        assert_ready!(task::spawn(gate.wait()).poll());
        gate.close();
        assert_pending!(task::spawn(gate.wait()).poll());
    }

    #[tokio::test]
    async fn a_test_can_wait_for_arrivals_and_departures() {
        let gate = Gate::new();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let gate = gate.clone();
                tokio::spawn(async move { gate.wait().await })
            })
            .collect();
        gate.reached(3).await;
        for task in waiting {
            task.abort();
        }
        gate.deserted().await;
    }
}
