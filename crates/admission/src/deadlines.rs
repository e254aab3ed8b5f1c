//! The nearest of many deadlines: a binary heap whose entries can be changed and removed.

use tokio::time::Instant;

use crate::slab::NONE;

/// At most one deadline for each index. Setting, changing and clearing one is `O(log n)`; with
/// deadlines that only grow, as those of a queue mostly do, setting is `O(1)`.
#[derive(Debug)]
pub(crate) struct Deadlines {
    heap: Vec<(Instant, u32)>,
    /// The place of each index in the heap.
    places: Vec<u32>,
    /// Heap levels walked so far.
    #[cfg(test)]
    pub(crate) steps: u64,
}

impl Deadlines {
    pub(crate) const fn new() -> Self {
        Self {
            heap: Vec::new(),
            places: Vec::new(),
            #[cfg(test)]
            steps: 0,
        }
    }

    /// The nearest deadline and whose it is.
    pub(crate) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    #[cfg(test)]
    pub(crate) fn get(&self, index: u32) -> Option<Instant> {
        let place = *self.places.get(index as usize)?;
        (place != NONE).then(|| self.heap[place as usize].0)
    }

    /// Sets, changes or (`None`) clears the deadline of an index.
    pub(crate) fn set(&mut self, index: u32, at: Option<Instant>) {
        let place = self.places.get(index as usize).copied().unwrap_or(NONE);
        match (at, place) {
            (None, NONE) => {}
            (None, place) => self.remove(place as usize),
            (Some(at), NONE) => self.insert(index, at),
            (Some(at), place) => {
                self.heap[place as usize].0 = at;
                // Up or down: a clock that starts or stops moves a deadline either way.
                self.settle(place as usize);
            }
        }
    }

    fn insert(&mut self, index: u32, at: Instant) {
        let needed = index as usize + 1;
        if self.places.len() < needed {
            self.places.resize(needed, NONE);
        }
        self.heap.push((at, index));
        self.settle(self.heap.len() - 1);
    }

    fn remove(&mut self, place: usize) {
        let (_, index) = self.heap.swap_remove(place);
        self.places[index as usize] = NONE;
        // The last entry fills the hole. It may come from another branch, and belong above the hole
        // as well as below.
        if place < self.heap.len() {
            self.settle(place);
        }
    }

    /// Moves the entry at `place` up or down to where it belongs.
    fn settle(&mut self, mut place: usize) {
        // Carried along and written once, where it stays: each level moves one entry and not two.
        let entry = self.heap[place];
        while place > 0 && entry.0 < self.heap[(place - 1) / 2].0 {
            place = self.shift((place - 1) / 2, place);
        }
        while let Some(child) = self.smaller_child(place) {
            if self.heap[child].0 >= entry.0 {
                break;
            }
            place = self.shift(child, place);
        }
        self.write(place, entry);
    }

    fn smaller_child(&self, place: usize) -> Option<usize> {
        let left = 2 * place + 1;
        let right = left + 1;
        match (self.heap.get(left), self.heap.get(right)) {
            (Some(a), Some(b)) if b.0 < a.0 => Some(right),
            (Some(_), _) => Some(left),
            (None, _) => None,
        }
    }

    /// Moves the entry at `from` to `to`, and returns `from` as the place that is now free.
    fn shift(&mut self, from: usize, to: usize) -> usize {
        #[cfg(test)]
        {
            self.steps += 1;
        }
        self.write(to, self.heap[from]);
        from
    }

    fn write(&mut self, place: usize, entry: (Instant, u32)) {
        self.heap[place] = entry;
        // The heap is no longer than the indices are many, and those are below `NONE`.
        self.places[entry.1 as usize] = u32::try_from(place).unwrap_or(NONE);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_deadline_is_always_the_nearest(
            steps in prop::collection::vec((0u32..40, prop::option::of(0u64..50)), 1..200)
        ) {
            let start = Instant::now();
            let mut heap = Deadlines::new();
            let mut model = BTreeMap::new();
            for (index, at) in steps {
                let at = at.map(|at| start + Duration::from_secs(at));
                heap.set(index, at);
                match at {
                    Some(at) => model.insert(index, at),
                    None => model.remove(&index),
                };
                let nearest = model.values().min().copied();
                prop_assert_eq!(heap.first().map(|(at, _)| at), nearest);
                if let Some((at, index)) = heap.first() {
                    prop_assert_eq!(model.get(&index), Some(&at));
                }
                prop_assert_eq!(heap.heap.len(), model.len());
            }
        }
    }
}
