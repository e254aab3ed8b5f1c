//! A request body that is as long as was announced, or fails.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_core::BoxError;

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

pin_project_lite::pin_project! {
    /// A request body whose bytes are counted.
    ///
    /// A server reads what follows the announced length as the next request, and waits for what is
    /// missing of it (request smuggling, RFC 9112 section 11.2): either is an error before the message
    /// is complete, and its connection is not used again. So the chunk that completes the length is
    /// held back until the body has ended.
    pub(crate) struct Counted<B> {
        #[pin]
        body: B,
        length: u64,
        taken: u64,
        held: Option<Frame<Bytes>>,
        trailers: Option<Frame<Bytes>>,
        ended: bool,
    }
}

impl<B> Counted<B> {
    pub(crate) const fn new(body: B, length: u64) -> Self {
        Self {
            body,
            length,
            taken: 0,
            held: None,
            trailers: None,
            ended: false,
        }
    }
}

impl<B> Body for Counted<B>
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        loop {
            let this = self.as_mut().project();
            if *this.ended {
                let rest = this.held.take().or_else(|| this.trailers.take());
                return Poll::Ready(rest.map(Ok));
            }
            let frame = ready!(this.body.poll_frame(cx)).transpose()?;
            let length = frame.as_ref().and_then(Frame::data_ref).map(Bytes::len);
            // Trailers come last, as the end does.
            let ended = length.is_none() || self.body.is_end_stream();
            let this = self.as_mut().project();
            *this.ended = ended;
            *this.taken += length.unwrap_or(0) as u64;
            // Judged before the frame goes on: a byte too many is on the wire the next request.
            if *this.taken > *this.length || (*this.ended && *this.taken < *this.length) {
                return Poll::Ready(Some(Err(Box::new(WrongLength {
                    announced: *this.length,
                    got: *this.taken,
                    ended: *this.ended,
                }))));
            }
            match frame {
                Some(frame) if length.is_none() => *this.trailers = Some(frame),
                // An empty chunk behind the last one takes no one's place.
                Some(frame) if *this.taken == *this.length => {
                    *this.held = this.held.take().or(Some(frame));
                }
                Some(frame) => return Poll::Ready(Some(Ok(frame))),
                None => {}
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let given = self.held.is_none() && self.trailers.is_none();
        given && (self.ended || (self.taken == self.length && self.body.is_end_stream()))
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().and_then(Frame::data_ref);
        let held = held.map_or(0, |held| held.len() as u64);
        SizeHint::with_exact(self.length - self.taken.min(self.length) + held)
    }
}

/// A body that is not as long as its request's Content-Length, or as its own hint.
#[derive(Debug)]
struct WrongLength {
    announced: u64,
    got: u64,
    ended: bool,
}

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (announced, got) = (self.announced, self.got);
        let or_more = if self.ended { "" } else { " or more" };
        write!(
            f,
            "the request announced a body of {announced} bytes, and its body has {got}{or_more}; leave the length to \
             the client, or make them agree"
        )
    }
}

impl Error for WrongLength {}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn frames(frames: Vec<Frame<Bytes>>) -> impl Body<Data = Bytes, Error = BoxError> + Unpin {
        let frames = stream::iter(frames.into_iter().map(Ok::<_, Infallible>));
        StreamBody::new(frames).map_err(Into::into)
    }

    fn data(chunks: &[&'static str]) -> Vec<Frame<Bytes>> {
        let frame = |chunk: &&'static str| Frame::data(Bytes::from_static(chunk.as_bytes()));
        chunks.iter().map(frame).collect()
    }

    async fn sent(chunks: &[&'static str], length: u64) -> Result<Bytes, BoxError> {
        let mut body = Counted::new(frames(data(chunks)), length);
        let mut sent = Vec::new();
        while let Some(frame) = body.frame().await {
            sent.extend(frame?.into_data().expect("only data was given"));
        }
        assert!(body.is_end_stream());
        Ok(sent.into())
    }

    #[tokio::test]
    async fn a_body_of_the_announced_length_passes_unchanged() {
        for chunks in [&["hello"][..], &["he", "", "llo"], &["hello", "", ""]] {
            assert_eq!(sent(chunks, 5).await.unwrap(), "hello", "{chunks:?}");
        }
        assert_eq!(sent(&[], 0).await.unwrap(), "");
        assert_eq!(sent(&[""], 0).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_shorter_or_longer_than_announced_fails() {
        for (chunks, length) in [
            (&["hello", "world"][..], 5),
            (&["hello!"], 5),
            (&["hell"], 5),
            (&[], 5),
            (&["x"], 0),
            (&["", "x"], 0),
        ] {
            let error = sent(chunks, length).await.unwrap_err().to_string();
            assert!(error.contains(&format!("of {length} bytes")), "{error}");
        }
    }

    #[tokio::test]
    async fn trailers_follow_the_chunk_held_back() {
        let mut all = data(&["he", "llo"]);
        all.push(Frame::trailers(HeaderMap::new()));
        let mut body = Counted::new(frames(all), 5);
        for expected in ["he", "llo"] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert!(body.frame().await.is_none());
    }
}
