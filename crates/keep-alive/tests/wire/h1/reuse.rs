//! Connections that are used again, or must not be.

use std::time::Duration;

use crate::h1::OK;
use crate::script::Do::{Blocked, Reached, Settle};
use crate::script::Step::{Close, Head, Mark};
use crate::script::{Case, Do, Step, Upload, call, case, get, post, says};
use http::Method;

const HOUR: Duration = Duration::from_secs(3600);
const TIMED_OUT: &str =
    "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
const LARGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4194304\r\n\r\n";
const CLOSES: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("two calls, one after the other", "9112 9.3", "one connection")
            .server([vec![Head, says(OK), Head, says(OK)]]).client(vec![get(), get()])
            .right(|seen| seen.answers() == ["200 ok", "200 ok"] && seen.connections() == 1),
        case("an answer that says close, the socket stays", "9112 9.6", "no second call on it")
            .server([vec![Head, says(CLOSES)], vec![Head, says(OK)]]).client(vec![get(), post(3)])
            .right(|seen| seen.answers() == ["200 ok", "200 ok"] && seen.connections() == 2),
        case("a server that closes an idle connection", "9112 9.5", "the next call on a new one")
            .server([vec![Head, says(OK), Close, Mark], vec![Head, says(OK)]]).client(vec![get(), Reached(1), Settle, post(3)])
            .right(|seen| seen.answers() == ["200 ok", "200 ok"] && seen.connections() == 2),
        case("a 408 on an idle connection", "9110 15.5.9", "a goodbye: the next call on a new one, reused afterwards")
            .server([vec![Head, says(OK), Step::Reached(1), says(TIMED_OUT), Close, Mark], vec![Head, says(OK), Head, says(OK)]])
            .client(vec![get(), Do::Mark, Reached(1), Settle, post(3), get()]).options(|layer| layer.quarantine(HOUR))
            .right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 2),
        case("a 408 that the reactor has not seen, then a POST", "9110 15.5.9", "a goodbye: sent on a new one, reused afterwards")
            .server([vec![Head, says(OK), Step::Reached(1), says(TIMED_OUT), Close, Mark], vec![Head, says(OK), Head, says(OK)]])
            .client(vec![get(), Do::Mark, Blocked(1), post(3), get()]).options(|layer| layer.quarantine(HOUR))
            .right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 2),
        case("a FIN that the reactor has not seen, then a POST", "9112 9.3.1", "the kernel is asked: sent on a new one")
            .server([vec![Head, says(OK), Step::Reached(1), Close, Mark], vec![Head, says(OK)]])
            .client(vec![get(), Do::Mark, Blocked(1), post(3)])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 2),
        case("a RST that the reactor has not seen, then a POST", "9112 9.3.1", "the kernel is asked: sent on a new one")
            .server([vec![Head, says(OK), Step::Reached(1), Step::Reset, Mark], vec![Head, says(OK)]])
            .client(vec![get(), Do::Mark, Blocked(1), post(3)])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 2),
        case("a stray answer that the reactor has not seen", "9112 9.2", "never the next call's answer")
            .server([vec![Head, says(OK), Step::Reached(1), says(EVIL), Mark], vec![Head, says(OK)]])
            .client(vec![get(), Do::Mark, Blocked(1), post(3)])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 2),
        case("an answer and a stray one, told when both are written", "9112 9.2", "never the next call's answer")
            .server([vec![Head, says(OK), says(EVIL), Mark], vec![Head, says(OK)]])
            .client(vec![get(), Blocked(1), post(3)])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 2),
        case("a body of 4 MiB that is dropped unread", "9112 9.3", "its place is free")
            .server([vec![Head, says(LARGE), says(vec![b'x'; 4 << 20])], vec![Head, says(OK)]]).client(vec![get().dropped(), get()])
            .right(|seen| seen.answers() == ["200", "200 ok"] && seen.connections() == 2),
        case("a body of 4 MiB that is held unread, a cap of two", "9112 9.3", "the other place serves")
            .server([vec![Head, says(LARGE), says(vec![b'x'; 4 << 20])], vec![Head, says(OK), Head, says(OK)]]).client(vec![get().held(), get(), get()])
            .right(|seen| seen.answers() == ["200", "200 ok", "200 ok"] && seen.connections() == 2).cap(2),
        case("100, then FIN", "9112 8", "the call is lost, not answered")
            .server([vec![Head, says("HTTP/1.1 100 Continue\r\n\r\n"), Close]]).client(vec![post(3)])
            .right(|seen| seen.answers() == ["ClosedAfterSent"] && seen.connections() == 1).ours_alone(),
        case("a FIN before the announced length", "9112 6.3", "the body breaks")
            .server([vec![Head, says(&OK.as_bytes()[..OK.len() - 1]), Close]]).client(vec![get()])
            .right(|seen| seen.answers()[0].starts_with("200 broken")).ours_alone(),
        case("a body without a length, cut by a RST", "9112 6.3", "the body breaks")
            .server([vec![Head, says("HTTP/1.1 200 OK\r\n\r\npart"), Step::Reached(1), Step::Reset]]).client(vec![get().start(), Do::Mark])
            .right(|seen| seen.answers()[0].starts_with("200 broken") || seen.answers() == ["ClosedAfterSent"]).ours_alone(),
        case("two lengths that differ", "9112 6.3", "the call fails")
            .server([vec![Head, says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk")]]).client(vec![get()])
            .right(|seen| seen.answers() == ["Exchange"]).ours_alone(),
        case("a request body that panics", "", "the call fails, others are served")
            .server([vec![Head, says(OK)]]).client(vec![get(), call(Method::POST).upload(Upload::Panics), get()])
            .right(|seen| seen.answers() == ["200 ok", "Exchange", "200 ok"] && seen.advises(&["the request's body panicked"])),
    ]
}
