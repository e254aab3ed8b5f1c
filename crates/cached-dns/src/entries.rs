//! Entries: the knowledge of one name. Time is an argument; no lock, no runtime.

pub(crate) mod entry;
