//! A rate limit for warnings.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::lock::lock;

/// The time from one warning to the next about the same thing.
const EVERY: Duration = Duration::from_secs(1);
/// So many things are distinguished; further ones share a turn.
const KEYS: usize = 1_024;

/// The turns of warnings: once a second for each thing that is warned of, so that one origin in
/// trouble does not hide another.
#[derive(Debug, Default)]
pub(crate) struct WarnLimit {
    keys: RandomState,
    /// By the hash of what is warned of. Guards the turns alone.
    turns: Mutex<HashMap<u64, Turn>>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    last: Instant,
    suppressed: u64,
}

impl WarnLimit {
    /// Returns the number held back about `what` since its last turn, if it is its turn now.
    pub(crate) fn turn(&self, now: Instant, what: impl Hash) -> Option<u64> {
        let mut key = self.keys.hash_one(what);
        let mut turns = lock(&self.turns);
        if turns.len() >= KEYS && !turns.contains_key(&key) {
            // Full: those whose second is over make room, though what they held back is then not
            // counted.
            turns.retain(|_, turn| now.saturating_duration_since(turn.last) < EVERY);
            if turns.len() >= KEYS {
                // The turn that all further things share.
                key = 0;
            }
        }
        let Some(turn) = turns.get_mut(&key) else {
            let turn = Turn {
                last: now,
                suppressed: 0,
            };
            turns.insert(key, turn);
            return Some(0);
        };
        // Saturating: another thread may have read its clock earlier and come here later.
        if now.saturating_duration_since(turn.last) < EVERY {
            turn.suppressed += 1;
            return None;
        }
        turn.last = now;
        Some(std::mem::take(&mut turn.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_warning_counts_those_suppressed_before_it() {
        let start = Instant::now();
        let limit = WarnLimit::default();
        let at = |millis| limit.turn(start + Duration::from_millis(millis), "a");
        assert_eq!(at(0), Some(0));
        assert_eq!([at(1), at(999)], [None, None]);
        assert_eq!(at(1_000), Some(2));
        assert_eq!(at(500), None, "a clock read earlier on another thread");
        assert_eq!(at(7_000), Some(1));
    }

    #[test]
    fn warnings_are_limited_per_origin_and_kind() {
        let now = Instant::now();
        let limit = WarnLimit::default();
        for what in [("a", "refused"), ("a", "timeout"), ("b", "refused")] {
            assert_eq!(limit.turn(now, what), Some(0), "{what:?}");
            assert_eq!(limit.turn(now, what), None, "{what:?}");
        }
    }

    #[test]
    fn many_origins_keep_the_warning_table_bounded() {
        let now = Instant::now();
        let limit = WarnLimit::default();
        let turns = (0..10 * KEYS)
            .filter(|key| limit.turn(now, key).is_some())
            .count();
        assert_eq!(turns, KEYS + 1);
        let later = now + EVERY;
        assert!(limit.turn(later, "another").is_some());
        assert!(limit.turns.lock().unwrap().len() <= KEYS + 1);
    }
}
