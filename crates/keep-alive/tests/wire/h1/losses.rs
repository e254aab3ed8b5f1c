//! Connections that end before an answer: a request is sent again if the peer cannot have read it, or
//! if sending it twice does what once does and the connection was stale.

use crate::h1::OK;
use crate::script::Do::{self, Settle};
use crate::script::Step::{Close, Head, Mark, Reached, Reset};
use crate::script::{Case, case, get, post, says};

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("a GET on a fresh connection that is reset", "9112 9.3.1", "sent once more")
            .server([vec![Head, Reset], vec![Head, says(OK)]]).client(vec![get()])
            .right(|seen| seen.answers() == ["200 ok"] && seen.connections() == 2),
        case("a GET on two of them", "9112 9.3.1", "told, not sent for ever")
            .server([vec![Head, Reset]]).client(vec![get()])
            .right(|seen| seen.answers() == ["ClosedAfterSent"] && seen.connections() == 2),
        case("a GET on a fresh connection that is closed", "9112 9.3.1", "told: it may be what the request does")
            .server([vec![Head, Close]]).client(vec![get()])
            .right(|seen| seen.answers() == ["ClosedAfterSent"] && seen.connections() == 1),
        case("a POST on a fresh connection that is reset", "9110 9.2.2", "told, never sent twice")
            .server([vec![Head, Reset], vec![Head, says(OK)]]).client(vec![post(3)])
            .right(|seen| seen.answers() == ["ClosedAfterSent"] && seen.connections() == 1),
        case("a GET on a reused connection that is reset, then on a fresh one", "9112 9.3.1", "sent twice more")
            .server([vec![Head, says(OK), Head, Reset], vec![Head, Reset], vec![Head, says(OK)]]).client(vec![get(), get()])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 3),
        case("a GET on a fresh connection that is reset, then on a stale one", "9112 9.3.1", "sent twice more: the stale one costs nothing")
            .server([vec![Head, Mark, Reached(1), says(OK), Mark, Head, Reset], vec![Head, Mark, Reached(2), Reset], vec![Head, says(OK)]])
            .client(vec![get().start(), Do::Reached(1), get().start(), Do::Reached(2), Do::Mark, Do::Reached(3), Settle, Do::Mark]).cap(2)
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 3),
        case("a GET that is answered in part, then RST", "9112 8", "told, not sent again")
            .server([vec![Head, says(&OK.as_bytes()[..20]), Reset]]).client(vec![get()])
            .right(|seen| seen.answers() == ["ClosedAfterSent"] && seen.connections() == 1),
    ]
}
