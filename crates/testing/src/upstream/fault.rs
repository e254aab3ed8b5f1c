//! Faults by name.

use std::time::Duration;

use bytes::Bytes;

use super::reply::Reply;
use super::step::Step;

impl Reply {
    /// The same reply, reset (RST) when so many bytes of its body are written; in memory, where
    /// there is no RST, the connection closes.
    pub fn reset_at(self, byte: usize) -> Self {
        self.cut_at(byte).reset()
    }

    /// The same reply, closed (FIN) when so many bytes of its body are written.
    pub fn eof_at(self, byte: usize) -> Self {
        self.cut_at(byte).close()
    }

    /// The same reply, silent when so many bytes of its body are written, until the peer closes.
    pub fn stall_at(self, byte: usize) -> Self {
        self.cut_at(byte).hold()
    }

    /// The same reply, with its head byte for byte, so long apart.
    pub fn slow_head(self, apart: Duration) -> Self {
        let mut slow = Self {
            steps: Vec::new(),
            before_body: self.before_body,
        };
        for step in self.steps {
            let Step::Head(head) = step else {
                slow.steps.push(step);
                continue;
            };
            let mut bytes = Vec::new();
            head.encode(&mut bytes);
            for byte in bytes {
                slow = slow.write(Bytes::copy_from_slice(&[byte])).delay(apart);
            }
        }
        slow
    }

    /// The steps up to this byte of the body.
    fn cut_at(self, byte: usize) -> Self {
        let mut left = byte;
        let mut cut = Self {
            steps: Vec::new(),
            before_body: self.before_body,
        };
        for step in self.steps {
            let Step::Body(mut bytes) = step else {
                // The head as well, with the length of the whole: that is what makes the body a
                // broken one.
                cut.steps.push(step);
                continue;
            };
            bytes.truncate(left);
            left -= bytes.len();
            cut.steps.push(Step::Body(bytes));
            if left == 0 {
                break;
            }
        }
        cut
    }
}
