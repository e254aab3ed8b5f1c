//! Every order in which threads can take turns, of those with few preemptions, by loom.
//!
//! loom switches threads at its own types, so here at one atomic that each [`point`] touches. One
//! stands before each taking of the lock over the flights, and before the list of waiters is emptied
//! outside of it; tests add their own before what their actors do beside. So these are all the orders
//! of what is done under the lock.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Counter;
use std::sync::atomic::Ordering::SeqCst;

use loom::sync::atomic::AtomicUsize;

/// Most turns that end before their thread waits or ends, as in the engine's models. Without a bound
/// the longest model here takes more than two minutes.
const PREEMPTIONS: usize = 3;

thread_local! {
    /// loom's threads are coroutines of the thread that runs the model.
    static IN_MODEL: Cell<bool> = const { Cell::new(false) };
}

loom::lazy_static! {
    static ref TURNS: AtomicUsize = AtomicUsize::new(0);
}

/// Here another thread may go first.
pub(crate) fn point() {
    if IN_MODEL.get() {
        TURNS.fetch_add(1, SeqCst);
    }
}

type Actor = Box<dyn FnOnce() + Send>;

/// Runs the actors of `make` in every order, each time followed by its check. Returns the number of
/// orders.
pub(crate) fn every_order(
    make: impl Fn() -> (Vec<Actor>, Box<dyn FnOnce()>) + Send + Sync + 'static,
) -> usize {
    let orders = Arc::new(Counter::new(0));
    let counted = Arc::clone(&orders);
    IN_MODEL.set(true);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(move || {
        counted.fetch_add(1, SeqCst);
        let (actors, check) = make();
        let start = |actor: Actor| {
            loom::thread::spawn(|| {
                point();
                actor();
            })
        };
        let threads: Vec<_> = actors.into_iter().map(start).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        check();
    });
    IN_MODEL.set(false);
    orders.load(SeqCst)
}

#[test]
fn two_threads_of_two_steps_have_six_orders() {
    use std::collections::HashSet;
    use std::sync::Mutex;

    let seen = Arc::new(Mutex::new(HashSet::new()));
    let noted = Arc::clone(&seen);
    every_order(move || {
        let log = Arc::new(Mutex::new(String::new()));
        let actor = |name: char| -> Actor {
            let log = Arc::clone(&log);
            Box::new(move || {
                log.lock().unwrap().push(name);
                point();
                log.lock().unwrap().push(name);
            })
        };
        let (actors, seen) = (vec![actor('a'), actor('b')], Arc::clone(&noted));
        let check = move || {
            seen.lock().unwrap().insert(log.lock().unwrap().clone());
        };
        (actors, Box::new(check))
    });
    assert_eq!(seen.lock().unwrap().len(), 6);
}
