//! What is sent, and what must come back.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::Options;

/// The request, and the response that must come back.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) expect: Option<Bytes>,
    pub(crate) upload: Option<Bytes>,
}

impl Files {
    pub(crate) fn read(options: &Options) -> std::io::Result<Self> {
        let read = |path: &Option<PathBuf>| path.as_ref().map(std::fs::read).transpose();
        Ok(Self {
            expect: read(&options.expect)?.map(Bytes::from),
            upload: read(&options.upload)?.map(Bytes::from),
        })
    }
}

/// A body of a known length that comes in pieces.
#[derive(Default)]
pub(crate) struct Pieces(pub(crate) Bytes);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.0.len().min(64 * 1024);
        let piece = (len > 0).then(|| Ok(Frame::data(self.0.split_to(len))));
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
