//! What the upstream does about one request, as a list of steps.

use std::time::Duration;

use bytes::Bytes;

use super::step::{Head, Step};
use crate::gate::Gate;

/// The upstream's reaction to one request: made by a constructor, extended by what follows.
///
/// The request's body is read first, unless [`before_body`](Self::before_body) is set. After
/// the last step the connection serves its next request, unless a step ended it or the request or
/// the response had `Connection: close`.
///
/// ```
/// # use std::time::Duration;
/// # use tollgate_testing::{Gate, Reply};
/// let gate = Gate::new();
/// // Half the body, then, when the test opens the gate, a reset.
/// let cut = Reply::head(200).header("content-length", "10").body("hello").wait(&gate).reset();
/// // A good answer after a delay; while idle, a response without a request.
/// let poison = Reply::ok("hello")
///     .after(Duration::from_millis(5))
///     .wait(&gate)
///     .write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a reply is what a script returns"]
pub struct Reply {
    pub(super) steps: Vec<Step>,
    pub(super) before_body: bool,
}

impl Reply {
    /// Nothing yet: for a reply that starts with something else than a head.
    pub const fn nothing() -> Self {
        Self {
            steps: Vec::new(),
            before_body: false,
        }
    }

    /// A 200 with this body and its length.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::respond(200, body)
    }

    /// A response with this status, this body and its length.
    pub fn respond(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::head(status)
            .header("content-length", &body.len().to_string())
            .body(body)
    }

    /// Only a head, without a length: the rest is up to the steps that follow.
    pub fn head(status: u16) -> Self {
        Self::nothing().then(Step::Head(Head::new(status)))
    }

    /// The head of a 200 in chunks, to be followed by [`chunk`](Self::chunk)s and
    /// [`end_chunks`](Self::end_chunks).
    pub fn chunked() -> Self {
        Self::head(200).header("transfer-encoding", "chunked")
    }

    /// A 200 of HTTP/1.0: its body ends with the connection.
    pub fn http10(body: impl Into<Bytes>) -> Self {
        let mut reply = Self::head(200).body(body).close();
        if let Some(Step::Head(head)) = reply.steps.first_mut() {
            head.version = "HTTP/1.0";
        }
        reply
    }

    /// A 200 with the request's own body.
    pub fn echo() -> Self {
        Self::nothing().then(Step::Echo)
    }

    /// A 101 to this protocol, and from then on every byte sent back.
    pub fn upgrade(protocol: &str) -> Self {
        Self::head(101)
            .header("connection", "upgrade")
            .header("upgrade", protocol)
            .then(Step::EchoBytes)
    }

    /// Exactly these bytes.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::nothing().write(bytes)
    }

    /// No answer, ever: the connection is held until the peer closes.
    pub fn never() -> Self {
        Self::nothing().hold()
    }

    /// Adds a header to the head written last.
    ///
    /// # Panics
    ///
    /// If no head has been written yet.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let head = self.steps.iter_mut().rev().find_map(|step| match step {
            Step::Head(head) => Some(head),
            _ => None,
        });
        head.expect("a header needs a head before it")
            .headers
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends `Connection: close` in the head, and closes after the last step.
    pub fn closing(self) -> Self {
        self.header("connection", "close")
    }

    /// Acts as soon as the request's head is there. What is left of the body is read after the last
    /// step.
    pub fn before_body(mut self) -> Self {
        self.before_body = true;
        self
    }

    /// Waits before all other steps.
    pub fn after(mut self, delay: Duration) -> Self {
        self.steps.insert(0, Step::Delay(delay));
        self
    }

    /// Waits at the gate before all other steps.
    pub fn when(mut self, gate: &Gate) -> Self {
        self.steps.insert(0, Step::Wait(gate.clone()));
        self
    }

    /// Adds a step.
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Then writes a part of the body (to a HEAD: nothing).
    pub fn body(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Body(bytes.into()))
    }

    /// Then writes one chunk of a chunked body.
    pub fn chunk(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.body(framed)
    }

    /// Then ends a chunked body.
    pub fn end_chunks(self) -> Self {
        self.body("0\r\n\r\n")
    }

    /// Then writes these bytes, whatever they are.
    pub fn write(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Write(bytes.into()))
    }

    /// Then waits.
    pub fn delay(self, delay: Duration) -> Self {
        self.then(Step::Delay(delay))
    }

    /// Then waits at the gate.
    pub fn wait(self, gate: &Gate) -> Self {
        self.then(Step::Wait(gate.clone()))
    }

    /// Then waits until the peer closes.
    pub fn hold(self) -> Self {
        self.then(Step::Hold)
    }

    /// Then closes in an orderly way.
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Then resets.
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    /// Returns true if a final head in it has `Connection: close`.
    pub(super) fn says_close(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Head(head) => head.headers.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case("connection") && super::wire::has_token(value, "close")
            }),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_encoded_as_it_was_built() {
        let reply = Reply::respond(503, "busy")
            .header("retry-after", "1")
            .closing();
        let Some(Step::Head(head)) = reply.steps.first() else {
            panic!("no head in {reply:?}");
        };
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\nretry-after: 1\r\n\
             connection: close\r\n\r\n"
        );
        assert!(reply.says_close());
    }

    #[test]
    #[should_panic(expected = "a header needs a head before it")]
    fn header_without_a_head_panics() {
        drop(Reply::raw("x").header("a", "b"));
    }
}
