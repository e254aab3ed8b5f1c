//! Streams that are refused, and sent again.

use futures_util::FutureExt;
use tokio::io::AsyncWriteExt;

use super::frames::{END_STREAM, HEADERS, REFUSED_STREAM, data, ok, rst, settings};
use crate::play::Seen;
use crate::script::Step::{self, Frame};
use crate::script::{Case, Do, case2, get};

/// To a name beside that of the URI.
fn to_a_tenant() -> Do {
    get().header("host", "tenant.example")
}

fn answers(stream: u32) -> Vec<Step> {
    vec![
        Frame(HEADERS),
        ok(stream, 0, 2),
        data(stream, END_STREAM, b"ok"),
    ]
}

fn refuses() -> Vec<Step> {
    vec![settings(), Frame(HEADERS), rst(1, REFUSED_STREAM)]
}

/// The `:authority` of each request on one connection, as an HTTP/2 server reads them.
fn authorities(seen: &Seen, connection: usize) -> Vec<String> {
    let received = seen.received.get(connection).cloned().unwrap_or_default();
    let (mut near, far) = tokio::io::duplex(received.len() + 1024);
    let reading = async move {
        near.write_all(&received).await.unwrap();
        let mut server = h2::server::handshake(far).await.unwrap();
        let mut authorities = Vec::new();
        // All there is to be read is there.
        while let Some(Some(Ok((request, _)))) = server.accept().now_or_never() {
            authorities.extend(request.uri().authority().map(ToString::to_string));
        }
        authorities
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(reading)
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case2("a GET with a Host of its own whose stream is refused", "9113 8.7", "sent again to the same authority")
            .server([[refuses(), answers(3)].concat()]).client(vec![to_a_tenant()])
            .right(|seen| seen.answers() == ["200 ok"] && authorities(seen, 0) == ["tenant.example"; 2]),
        case2("the same with room for another connection", "9113 8.7", "sent there at once, to the same authority")
            .server([refuses(), [vec![settings()], answers(1)].concat()]).client(vec![to_a_tenant()]).cap(2)
            .right(|seen| seen.answers() == ["200 ok"] && [0, 1].map(|one| authorities(seen, one)) == [["tenant.example"]; 2]),
    ]
}
