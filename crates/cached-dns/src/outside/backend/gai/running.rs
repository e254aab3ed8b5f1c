//! The threads under way, by name, and the results that came after their callers had gone.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tollgate_core::lock::lock;

use crate::values::error::LookupError;

/// A result of getaddrinfo.
pub(super) type Found = Result<Vec<SocketAddr>, LookupError>;

/// The time that a result without waiters is kept for the next lookup: what the cache takes
/// an answer without a TTL for.
const KEPT: Duration = Duration::from_secs(30);
/// The number of them that is kept.
const MAX_KEPT: usize = 256;

#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<Box<str>, State>>>);

enum State {
    /// A thread has it, or is waited for.
    Running(watch::Receiver<Option<Found>>),
    Kept(Found, Instant),
}

pub(super) enum Joined {
    Waiting(Wait),
    Leading(Leader),
}

/// A result to come, or there already.
pub(super) enum Wait {
    For(watch::Receiver<Option<Found>>),
    Done(Found),
}

/// Owes the result of a name. Dropped without one, those who wait take over.
pub(super) struct Leader {
    running: Running,
    name: Box<str>,
    result: watch::Sender<Option<Found>>,
}

impl Running {
    pub(super) fn join(&self, name: &str) -> Joined {
        let mut states = self.locked();
        match states.get(name) {
            Some(State::Running(result)) => return Joined::Waiting(Wait::For(result.clone())),
            Some(State::Kept(..)) => {
                // Taken out, for one lookup: from then on the cache has it.
                if let Some(State::Kept(found, since)) = states.remove(name)
                    && since.elapsed() < KEPT
                {
                    return Joined::Waiting(Wait::Done(found));
                }
            }
            None => {}
        }
        let (sender, receiver) = watch::channel(None);
        states.insert(name.into(), State::Running(receiver));
        drop(states);
        Joined::Leading(Leader {
            running: self.clone(),
            name: name.into(),
            result: sender,
        })
    }

    /// Guards plain values; nothing is resolved and no task woken under it.
    fn locked(&self) -> MutexGuard<'_, HashMap<Box<str>, State>> {
        lock(&self.0)
    }
}

impl Wait {
    /// `None` if the leader went away without a result.
    pub(super) async fn result(self) -> Option<Found> {
        match self {
            Self::Done(found) => Some(found),
            Self::For(mut result) => result.wait_for(Option::is_some).await.ok()?.clone(),
        }
    }
}

impl Leader {
    pub(super) fn wait(&self) -> Wait {
        Wait::For(self.result.subscribe())
    }

    pub(super) fn finish(self, found: Found) {
        {
            let mut states = self.running.locked();
            states.remove(&self.name);
            // The table's own receiver is gone: these are callers.
            if self.result.receiver_count() == 0 {
                let now = Instant::now();
                let is_young = |state: &State| match state {
                    State::Kept(_, since) => now < *since + KEPT,
                    State::Running(_) => true,
                };
                states.retain(|_, state| is_young(state));
                if states.len() < MAX_KEPT {
                    states.insert(self.name.clone(), State::Kept(found, now));
                }
                return;
            }
        }
        // With the lock open, since it wakes those that wait. Its name is free already: a lookup
        // that comes now leads anew.
        self.result.send_replace(Some(found));
    }
}

impl Drop for Leader {
    /// Without a result its name is free again.
    fn drop(&mut self) {
        let mut states = self.running.locked();
        if let Some(State::Running(result)) = states.get(&self.name)
            // Its own entry alone: after `finish` another may lead for the name.
            && result.same_channel(&self.result.subscribe())
        {
            states.remove(&self.name);
        }
    }
}
