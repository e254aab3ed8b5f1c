//! Reading heads from bytes as they arrive.

use bytes::BytesMut;

use super::body::Body;

/// Heads and chunk lines longer than this are malformed.
pub(super) const LINE_MAX: usize = 256 * 1024;

/// The bytes are no request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A request's head as it stood on the wire.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawHead {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version: String,
    pub(super) headers: Vec<(String, String)>,
}

impl RawHead {
    /// Takes a head off the front of `buf`, once it is whole.
    pub(super) fn take(buf: &mut BytesMut) -> Result<Option<Self>, Malformed> {
        let Some(end) = find(buf, b"\r\n\r\n") else {
            return if buf.len() > LINE_MAX {
                Err(Malformed)
            } else {
                Ok(None)
            };
        };
        let bytes = buf.split_to(end + 4);
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Malformed)?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let mut word = || {
            words
                .next()
                .filter(|word| !word.is_empty())
                .ok_or(Malformed)
        };
        let mut head = Self {
            method: word()?.to_owned(),
            target: word()?.to_owned(),
            version: word()?.to_owned(),
            headers: Vec::new(),
        };
        // Turns away HTTP/2 as well, whose preface begins with `PRI * HTTP/2.0`.
        if words.next().is_some() || !head.version.starts_with("HTTP/1.") {
            return Err(Malformed);
        }
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(Malformed)?;
            let name = name.to_ascii_lowercase();
            head.headers.push((name, value.trim().to_owned()));
        }
        Ok(Some(head))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns true if the peer will send another request on this connection.
    pub(super) fn keeps_alive(&self) -> bool {
        let connection = self.header("connection").unwrap_or_default();
        // RFC 9112, section 9.3: HTTP/1.0 closes unless it is asked to keep.
        if self.version == "HTTP/1.0" {
            has_token(connection, "keep-alive")
        } else {
            !has_token(connection, "close")
        }
    }

    pub(super) fn body(&self) -> Result<Body, Malformed> {
        let encoding = self.header("transfer-encoding").unwrap_or_default();
        match self.header("content-length") {
            // Before the length, which does not count beside chunks (RFC 9112, section 6.3).
            _ if has_token(encoding, "chunked") => Ok(Body::chunked()),
            Some(length) => Ok(Body::of_length(length.parse().map_err(|_| Malformed)?)),
            None => Ok(Body::of_length(0)),
        }
    }
}

/// Returns true if a comma-separated header value has this token.
pub(super) fn has_token(value: &str, token: &str) -> bool {
    value
        .split(',')
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

pub(super) fn find(buf: &[u8], what: &[u8]) -> Option<usize> {
    buf.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(bytes: &str) -> Result<Option<RawHead>, Malformed> {
        RawHead::take(&mut BytesMut::from(bytes))
    }

    #[test]
    fn whole_head_is_taken_and_leaves_the_rest() {
        let mut buf = BytesMut::from("GET /a?b HTTP/1.1\r\nHost: x\r\n");
        assert_eq!(RawHead::take(&mut buf), Ok(None));
        buf.extend_from_slice(b"\r\nnext");
        let head = RawHead::take(&mut buf).unwrap().unwrap();
        assert_eq!((&*head.method, &*head.target), ("GET", "/a?b"));
        assert_eq!(head.header("host"), Some("x"));
        assert_eq!(&buf[..], b"next");
    }

    #[test]
    fn what_is_no_request_is_malformed() {
        for bytes in [
            "GET / HTTP/1.1 x\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            assert_eq!(head_of(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn keeping_alive_follows_version_and_header() {
        for (head, keeps) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nconnection: foo, Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ] {
            assert_eq!(
                head_of(head).unwrap().unwrap().keeps_alive(),
                keeps,
                "{head:?}"
            );
        }
    }

    #[test]
    fn body_framing_holds_however_bytes_are_split() {
        for (headers, wire, body) in [
            ("", "", ""),
            ("content-length: 5\r\n", "hello", "hello"),
            (
                "transfer-encoding: chunked\r\n",
                "3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nt: 1\r\n\r\n",
                "hello",
            ),
        ] {
            let head = head_of(&format!("POST / HTTP/1.1\r\n{headers}\r\n"));
            let mut reader = head.unwrap().unwrap().body().unwrap();
            let mut buf = BytesMut::new();
            for byte in wire.bytes() {
                assert_eq!(reader.advance(&mut buf), Ok(false));
                buf.extend_from_slice(&[byte]);
            }
            buf.extend_from_slice(b"next");
            assert_eq!(reader.advance(&mut buf), Ok(true));
            assert_eq!(reader.bytes(), body);
            assert_eq!(&buf[..], b"next");
        }
    }
}
