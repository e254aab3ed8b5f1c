//! Every order in which threads can take turns, one after the other.
//!
//! Threads run one at a time and hand over at each [`point`]. One stands before each taking of the lock
//! over the flights, and before the list of waiters is emptied outside of it; tests add their own
//! before what their actors do beside. So these are all the orders of what is done under the lock.

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

thread_local! {
    static ME: RefCell<Option<(usize, Arc<Turns>)>> = const { RefCell::new(None) };
}

/// Here another thread may go first.
pub(crate) fn point() {
    let me = ME.with(|me| me.borrow().clone());
    if let Some((id, turns)) = me {
        turns.hand_over();
        turns.wait_for(id);
    }
}

/// Whose turn it is, and the orders tried so far.
struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    turn: usize,
    ended: Vec<bool>,
    /// At each hand-over: who was chosen of how many.
    path: Vec<(usize, usize)>,
    depth: usize,
}

type Actor = Box<dyn FnOnce() + Send>;

/// Runs `make`'s actors in every order. How many orders there were.
pub(crate) fn every_order(make: impl Fn() -> (Vec<Actor>, Box<dyn FnOnce()>)) -> usize {
    let mut path = Vec::new();
    for orders in 1.. {
        let (actors, check) = make();
        path = run(actors, path);
        check();
        // The last choice that has an alternative takes it.
        while let Some((chosen, of)) = path.pop() {
            if chosen + 1 < of {
                path.push((chosen + 1, of));
                break;
            }
        }
        if path.is_empty() {
            return orders;
        }
    }
    unreachable!("there are not as many orders as numbers")
}

fn run(actors: Vec<Actor>, path: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let turns = Arc::new(Turns {
        state: Mutex::new(State {
            turn: usize::MAX,
            ended: vec![false; actors.len()],
            path,
            depth: 0,
        }),
        changed: Condvar::new(),
    });
    let threads: Vec<_> = (0..)
        .zip(actors)
        .map(|(id, actor)| {
            let turns = Arc::clone(&turns);
            thread::spawn(move || {
                let _ended = EndOnDrop(id, Arc::clone(&turns));
                turns.wait_for(id);
                ME.with(|me| *me.borrow_mut() = Some((id, turns)));
                actor();
            })
        })
        .collect();
    turns.hand_over();
    let results: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
    let state = turns.state.lock().unwrap_or_else(PoisonError::into_inner);
    for result in results {
        assert!(result.is_ok(), "in the order {:?}", state.path);
    }
    state.path.clone()
}

struct EndOnDrop(usize, Arc<Turns>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        ME.with(|me| *me.borrow_mut() = None);
        self.1.with(|state| state.ended[self.0] = true);
        self.1.hand_over();
    }
}

impl Turns {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Chooses who goes on, as the path says and beyond its end the first.
    fn hand_over(&self) {
        self.with(|state| {
            let ready: Vec<usize> = (0..state.ended.len())
                .filter(|&id| !state.ended[id])
                .collect();
            if ready.is_empty() {
                return;
            }
            if state.depth == state.path.len() {
                state.path.push((0, ready.len()));
            }
            state.turn = ready[state.path[state.depth].0];
            state.depth += 1;
        });
        self.changed.notify_all();
    }

    fn wait_for(&self, id: usize) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = self.changed.wait_while(state, |state| state.turn != id);
        drop(turn.unwrap_or_else(PoisonError::into_inner));
    }
}

#[test]
fn two_threads_of_two_steps_have_six_orders() {
    let seen = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let orders = every_order(|| {
        let log = Arc::new(Mutex::new(String::new()));
        let actor = |name: char| -> Actor {
            let log = Arc::clone(&log);
            Box::new(move || {
                log.lock().unwrap().push(name);
                point();
                log.lock().unwrap().push(name);
            })
        };
        let actors = vec![actor('a'), actor('b')];
        let seen = Arc::clone(&seen);
        let check = move || {
            seen.lock().unwrap().insert(log.lock().unwrap().clone());
        };
        (actors, Box::new(check))
    });
    assert_eq!((orders, seen.lock().unwrap().len()), (6, 6));
}
