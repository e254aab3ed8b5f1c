//! Reading a body whole.

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::Body;
use crate::error::Error;

impl Body {
    /// Reads the body to its end and returns it, if it has no more than `limit` bytes. Trailers are
    /// passed over.
    ///
    /// A length that the response announces is held against the limit at once. Cancel safety:
    /// dropping the future drops the body.
    ///
    /// # Errors
    ///
    /// Of kind [`BodyTooLarge`](crate::ErrorKind::BodyTooLarge) beyond the limit, when the body is
    /// dropped; else those of the body.
    pub async fn collect_within(mut self, limit: usize) -> Result<Bytes, Error> {
        let announced = usize::try_from(self.size_hint().lower());
        // More than this machine can address is beyond any limit.
        if announced.is_ok_and(|len| len > limit) || announced.is_err() {
            return Err(Error::body_too_large(limit, self.state()));
        }
        let mut whole = Bytes::new();
        // Only of the second piece on: most bodies have one, which is not copied.
        let mut pieces = BytesMut::new();
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            // Before the piece is kept: the limit bounds what is in memory.
            if whole.len() + pieces.len() + data.len() > limit {
                return Err(Error::body_too_large(limit, self.state()));
            }
            if whole.is_empty() && pieces.is_empty() {
                whole = data;
                continue;
            }
            if pieces.is_empty() {
                pieces.extend_from_slice(&std::mem::take(&mut whole));
            }
            pieces.extend_from_slice(&data);
        }
        Ok(if pieces.is_empty() {
            whole
        } else {
            pieces.freeze()
        })
    }

    /// Reads the body to its end, if it has no more than `limit` bytes, and parses it as JSON.
    ///
    /// # Errors
    ///
    /// Of kind [`Decode`](crate::ErrorKind::Decode) if it is not JSON of that shape; else those of
    /// [`collect_within`](Self::collect_within).
    #[cfg(feature = "json")]
    pub async fn json<T: serde::de::DeserializeOwned>(self, limit: usize) -> Result<T, Error> {
        let state = self.state();
        // Above, since reading consumes the body, and an error of parsing has to name its origin.
        let bytes = self.collect_within(limit).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::decode(error.into(), state))
    }
}
