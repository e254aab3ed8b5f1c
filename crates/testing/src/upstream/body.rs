//! Reading bodies from bytes as they arrive.

use bytes::{Buf, Bytes, BytesMut};

use super::wire::{LINE_MAX, Malformed, find};

/// A request's body, as far as it was read.
#[derive(Debug)]
pub(super) struct Body {
    framing: Framing,
    chunked: bool,
    read: BytesMut,
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    /// Bytes still to come, of the body or of a chunk.
    Left(usize),
    /// A line with a chunk's size comes next.
    ChunkSize,
    /// The empty line after a chunk comes next.
    ChunkEnd,
    /// Trailers, or the empty line that ends them, come next.
    Trailers,
    Done,
}

impl Body {
    pub(super) fn of_length(length: usize) -> Self {
        Self {
            framing: Framing::Left(length),
            chunked: false,
            read: BytesMut::new(),
        }
    }

    pub(super) fn chunked() -> Self {
        Self {
            framing: Framing::ChunkSize,
            chunked: true,
            read: BytesMut::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.read.len()
    }

    pub(super) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.read)
    }

    /// Takes what there is of the body off the front of `buf`; `true` at its end.
    pub(super) fn advance(&mut self, buf: &mut BytesMut) -> Result<bool, Malformed> {
        loop {
            self.framing = match self.framing {
                Framing::Done => return Ok(true),
                Framing::Left(0) if self.chunked => Framing::ChunkEnd,
                Framing::Left(0) => Framing::Done,
                Framing::Left(_) if buf.is_empty() => return Ok(false),
                Framing::Left(left) => {
                    let here = left.min(buf.len());
                    self.read.extend_from_slice(&buf.split_to(here));
                    Framing::Left(left - here)
                }
                Framing::ChunkSize | Framing::ChunkEnd | Framing::Trailers => {
                    let Some(line) = take_line(buf)? else {
                        return Ok(false);
                    };
                    self.framing.after_line(&line)?
                }
            };
        }
    }
}

impl Framing {
    fn after_line(&self, line: &[u8]) -> Result<Self, Malformed> {
        match self {
            Self::ChunkSize => {
                let text = std::str::from_utf8(line).map_err(|_| Malformed)?;
                // Chunk extensions are ignored (RFC 9112, section 7.1.1).
                let size = text.split(';').next().unwrap_or_default().trim();
                match usize::from_str_radix(size, 16).map_err(|_| Malformed)? {
                    0 => Ok(Self::Trailers),
                    size => Ok(Self::Left(size)),
                }
            }
            Self::ChunkEnd if line.is_empty() => Ok(Self::ChunkSize),
            Self::Trailers if line.is_empty() => Ok(Self::Done),
            Self::Trailers => Ok(Self::Trailers),
            _ => Err(Malformed),
        }
    }
}

fn take_line(buf: &mut BytesMut) -> Result<Option<BytesMut>, Malformed> {
    match find(buf, b"\r\n") {
        Some(end) => {
            let line = buf.split_to(end);
            buf.advance(2);
            Ok(Some(line))
        }
        None if buf.len() > LINE_MAX => Err(Malformed),
        None => Ok(None),
    }
}
