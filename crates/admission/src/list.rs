//! A doubly linked list threaded through the values of a slab.

use crate::slab::{NONE, Slab};

/// A value's place in its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    prev: u32,
    next: u32,
    linked: bool,
}

impl Links {
    pub(crate) const fn new() -> Self {
        Self {
            prev: NONE,
            next: NONE,
            linked: false,
        }
    }

    pub(crate) const fn prev(self) -> u32 {
        self.prev
    }

    pub(crate) const fn next(self) -> u32 {
        self.next
    }

    pub(crate) const fn is_linked(self) -> bool {
        self.linked
    }
}

/// A value that can be in one list.
pub(crate) trait Linked {
    fn links(&self) -> Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// Both ends and the length; the rest is in the values.
#[derive(Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
    len: usize,
    /// Insertions and removals so far: each touches at most three values.
    #[cfg(test)]
    pub(crate) operations: u64,
}

impl List {
    pub(crate) const fn new() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            len: 0,
            #[cfg(test)]
            operations: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(crate) const fn head(&self) -> Option<u32> {
        if self.head == NONE {
            None
        } else {
            Some(self.head)
        }
    }

    pub(crate) const fn tail(&self) -> Option<u32> {
        if self.tail == NONE {
            None
        } else {
            Some(self.tail)
        }
    }

    #[inline]
    pub(crate) fn push_front<T: Linked>(&mut self, slab: &mut Slab<T>, index: u32) {
        self.link(slab, index, NONE, self.head);
    }

    /// Puts a value after `prev`, or to the front if that is `NONE`.
    pub(crate) fn insert_after<T: Linked>(&mut self, slab: &mut Slab<T>, index: u32, prev: u32) {
        let next = match prev {
            NONE => self.head,
            prev => slab.at(prev).links().next,
        };
        self.link(slab, index, prev, next);
    }

    pub(crate) fn push_back<T: Linked>(&mut self, slab: &mut Slab<T>, index: u32) {
        self.link(slab, index, self.tail, NONE);
    }

    #[inline]
    fn link<T: Linked>(&mut self, slab: &mut Slab<T>, index: u32, prev: u32, next: u32) {
        let links = slab.at_mut(index).links_mut();
        debug_assert!(!links.linked, "a value is in its list once");
        *links = Links {
            prev,
            next,
            linked: true,
        };
        self.point(slab, prev, next, index, index);
        self.len += 1;
        self.count();
    }

    #[inline]
    pub(crate) fn unlink<T: Linked>(&mut self, slab: &mut Slab<T>, index: u32) {
        let links = slab.at_mut(index).links_mut();
        debug_assert!(links.linked, "only a value in the list leaves it");
        let Links { prev, next, .. } = *links;
        // Cleared and not only passed over: by `is_linked` a connection is known to be idle.
        *links = Links::new();
        self.point(slab, prev, next, next, prev);
        self.len -= 1;
        self.count();
    }

    /// Makes `prev` (or the head) point forward to `after`, and `next` (or the tail) back to
    /// `before`.
    #[inline]
    fn point<T: Linked>(
        &mut self,
        slab: &mut Slab<T>,
        prev: u32,
        next: u32,
        after: u32,
        before: u32,
    ) {
        if prev == NONE {
            self.head = after;
        } else {
            slab.at_mut(prev).links_mut().next = after;
        }
        if next == NONE {
            self.tail = before;
        } else {
            slab.at_mut(next).links_mut().prev = before;
        }
    }

    #[inline]
    fn count(&mut self) {
        #[cfg(test)]
        {
            self.operations += 1;
        }
        // `self` is what the tests count in; elsewhere this is empty.
        let _ = self;
    }
}
