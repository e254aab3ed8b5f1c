//! The steps that replies are made of.

use std::time::Duration;

use bytes::Bytes;

use crate::gate::Gate;

/// One thing that a connection does.
///
/// Bytes of steps that follow each other directly go out in one write.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Reads the request's body to its end.
    ReadBody,
    /// Writes a head.
    Head(Head),
    /// Writes these bytes, unless the request was a HEAD.
    Body(Bytes),
    /// Writes these bytes, whatever they are.
    Write(Bytes),
    /// Writes a 200 whose body is the request's, which it reads to its end first.
    Echo,
    /// Sends back every byte that comes from now on, until the peer closes: for after a 101.
    EchoBytes,
    /// Waits. A peer that closes meanwhile ends the connection, here as in every wait.
    Delay(Duration),
    /// Waits at a gate.
    Wait(Gate),
    /// Waits until the peer closes.
    Hold,
    /// Sends FIN: nothing more will be written, and goes on reading.
    Shutdown,
    /// Closes the connection in an orderly way (FIN).
    Close,
    /// Resets the connection (RST). In memory, where there is none, closes it.
    Reset,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The version as it is written, `HTTP/1.1`.
    pub version: &'static str,
    /// The status code.
    pub status: u16,
    /// The headers, in order, as they are written.
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub(super) fn new(status: u16) -> Self {
        Self {
            version: "HTTP/1.1",
            status,
            headers: Vec::new(),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let reason = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Other");
        out.extend_from_slice(format!("{} {} {reason}\r\n", self.version, self.status).as_bytes());
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}
