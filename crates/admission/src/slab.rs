//! Storage with stable places: what it holds is named by an index and a generation.

/// The index of nothing.
pub(crate) const NONE: u32 = u32::MAX;

/// Names one value for as long as it is there; the place's next tenant has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    generation: u32,
}

/// A vector whose places are recycled: once grown it allocates no more.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    next_free: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.len += 1;
        if self.free == NONE {
            let index = u32::try_from(self.slots.len()).unwrap_or(NONE);
            assert!(index != NONE, "fewer than 2^32 - 1 values are live at once");
            self.slots.push(Slot {
                generation: 0,
                next_free: NONE,
                value: Some(value),
            });
            return Key {
                index,
                generation: 0,
            };
        }
        let index = self.free;
        let slot = &mut self.slots[index as usize];
        self.free = slot.next_free;
        slot.value = Some(value);
        Key {
            index,
            generation: slot.generation,
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        // A handle would have to outlive 2^32 tenants of its place to be mistaken.
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.free;
        self.free = key.index;
        self.len -= 1;
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation {
            slot.value.as_ref()
        } else {
            None
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation {
            slot.value.as_mut()
        } else {
            None
        }
    }

    /// The value at an index that a list or a key has just vouched for.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> &T {
        let value = self.slots[index as usize].value.as_ref();
        value.expect("lists hold indices of live values only")
    }

    /// As [`Slab::at`].
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut T {
        let value = self.slots[index as usize].value.as_mut();
        value.expect("lists hold indices of live values only")
    }

    /// The key of the value at an index, under the same condition as [`Slab::at`].
    #[inline]
    pub(crate) fn key(&self, index: u32) -> Key {
        Key {
            index,
            generation: self.slots[index as usize].generation,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| {
            let generation = slot.generation;
            Some((Key { index, generation }, slot.value.as_ref()?))
        })
    }

    /// One past the highest index in use so far.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NONE)
    }

    pub(crate) fn is_live(&self, index: u32) -> bool {
        let slot = self.slots.get(index as usize);
        slot.is_some_and(|slot| slot.value.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_never_names_its_successor() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(first.index, second.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn places_are_recycled() {
        let mut slab = Slab::new();
        for round in 0..10 {
            let keys = [slab.insert(round), slab.insert(round), slab.insert(round)];
            assert_eq!(keys.map(|key| slab.remove(key)), [Some(round); 3]);
        }
        assert_eq!(slab.end(), 3);
    }
}
