//! Bodies made of what is in memory.

use bytes::Bytes;

use super::{Body, State};

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        // Over from the start: as a frame that is to come, nothing would look like a body.
        if bytes.is_empty() {
            return Self::default();
        }
        Self::in_state(State::Buffered(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl From<&str> for Body {
    /// A copy of the text.
    fn from(text: &str) -> Self {
        Self::from(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&[u8]> for Body {
    /// A copy of the bytes.
    fn from(bytes: &[u8]) -> Self {
        Self::from(Bytes::copy_from_slice(bytes))
    }
}

#[cfg(feature = "json")]
impl Body {
    /// The value as JSON. The header `content-type: application/json` is the request's.
    ///
    /// # Errors
    ///
    /// `serde_json`'s, for a value that JSON cannot express.
    pub fn from_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(value).map(Self::from)
    }
}
