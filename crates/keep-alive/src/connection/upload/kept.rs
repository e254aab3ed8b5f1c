//! What is kept of a request body to send it again.

use bytes::Bytes;

/// What was taken of a body, as far as there is room for it.
pub(super) struct Kept {
    pub(super) chunks: Vec<Bytes>,
    pub(super) room: usize,
}

impl Kept {
    pub(super) fn push(&mut self, chunk: Bytes) -> bool {
        let Some(room) = self.room.checked_sub(chunk.len()) else {
            return false;
        };
        self.room = room;
        self.chunks.push(chunk);
        true
    }
}
