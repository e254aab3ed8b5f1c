//! The last minutes of each origin, calls apart from exchanges that last.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tollgate_core::Origin;
use tollgate_core::lock::lock;
use tollgate_keep_alive::OriginStats;

use crate::client::Client;
use crate::long_lived::Class;
use crate::task_flag::{Raised, TaskFlag};

const EVERY: Duration = Duration::from_secs(2);
/// Three minutes.
const KEPT: usize = 90;
const ORIGINS: usize = 256;

/// Samples of the origins, taken by a task that ends with this.
#[derive(Debug, Default)]
pub(super) struct History {
    sampled: TaskFlag,
    /// Guards the samples alone.
    origins: Mutex<HashMap<Key, VecDeque<Sample>>>,
}

type Key = (Class, Origin);

/// An origin at one moment.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Sample {
    pub(super) in_flight: usize,
    pub(super) queued: usize,
}

impl History {
    /// Starts the task, unless there is one or there is no runtime.
    pub(super) fn sample(self: &Arc<Self>, client: &Client) {
        // The runtime before the flag: where there is none, a later look starts the task.
        if let Ok(runtime) = Handle::try_current()
            && let Some(up) = self.sampled.raise()
        {
            drop(runtime.spawn(sample(Arc::downgrade(self), client.clone(), up)));
        }
    }

    pub(super) fn of(&self, class: Class, origin: &Origin) -> Vec<Sample> {
        let origins = lock(&self.origins);
        let samples = origins.get(&(class, origin.clone()));
        samples.map_or_else(Vec::new, |samples| samples.iter().copied().collect())
    }

    fn take(&self, client: &Client) {
        // Before the lock: a snapshot takes those of the pool, and none is taken under this one.
        let snapshot = client.snapshot();
        let of = |class| move |stats: OriginStats| ((class, stats.origin.clone()), stats);
        let calls = snapshot.origins.into_iter().map(of(Class::Call));
        let lasting = snapshot.long_lived.into_iter().map(of(Class::LongLived));
        let now: Vec<_> = calls.chain(lasting).collect();
        let keys: HashSet<_> = now.iter().map(|(key, _)| key).collect();
        let mut origins = lock(&self.origins);
        origins.retain(|key, _| keys.contains(key));
        for (key, stats) in &now {
            if origins.len() >= ORIGINS && !origins.contains_key(key) {
                continue;
            }
            let samples = origins.entry(key.clone()).or_default();
            if samples.len() == KEPT {
                samples.pop_front();
            }
            samples.push_back(Sample {
                in_flight: stats.in_flight,
                queued: stats.queued,
            });
        }
    }
}

async fn sample(history: Weak<History>, client: Client, _up: Raised) {
    let mut ticks = tokio::time::interval(EVERY);
    // A sample that was missed cannot be taken afterwards.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(history) = history.upgrade() else {
            return;
        };
        history.take(&client);
    }
}
