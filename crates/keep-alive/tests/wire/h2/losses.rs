//! Connections that end before an answer, with one stream on each.

use super::frames::{END_STREAM, HEADERS, NO_ERROR, at_once, data, frame, goaway, ok, settings};
use crate::script::Do::{self, Blocked};
use crate::script::Step::{self, Close, Frame, Mark, Reached, Reset};
use crate::script::{Case, case2, get, post, says};

fn ends(step: Step) -> Vec<Step> {
    vec![settings(), Frame(HEADERS), step]
}

fn answers() -> Vec<Step> {
    vec![
        settings(),
        Frame(HEADERS),
        ok(1, 0, 2),
        data(1, END_STREAM, b"ok"),
    ]
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case2("a GET on a fresh connection that is reset", "9110 9.2.2", "sent once more")
            .server([ends(Reset), answers()]).client(vec![get()])
            .right(|seen| seen.answers() == ["200 ok"] && seen.connections() == 2),
        case2("a GET on two of them", "9110 9.2.2", "told, not sent for ever")
            .server([ends(Reset)]).client(vec![get()])
            // Where the first word takes long, the first is no longer fresh.
            .right(|seen| seen.answers() == ["ClosedAfterSent"] && (2..=3).contains(&seen.connections())),
        case2("a GET on a connection that ends each time", "9110 9.2.2", "told, not sent for ever")
            .server([ends(Close)]).client(vec![get()])
            .right(|seen| seen.answers() == ["ClosedAfterSent"] && seen.connections() <= 3),
        case2("a GET on a reused connection that is reset, then on a fresh one", "9110 9.2.2", "sent twice more")
            .server([[answers(), vec![Frame(HEADERS), Reset]].concat(), ends(Reset), answers()]).client(vec![get(), get()])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 3),
        case2("a GOAWAY and RST that the reactor has not seen, then a POST", "9113 6.8", "read: sent on a new one")
            .server([[answers(), vec![Reached(1), goaway(1, NO_ERROR), Reset, Mark]].concat(), answers()])
            .client(vec![get(), Do::Mark, Blocked(1), post(3)])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 2),
        case2("a FIN that the reactor has not seen, then a POST", "9113 9.1", "the kernel is asked: sent on a new one")
            .server([[answers(), vec![Reached(1), Close, Mark]].concat(), answers()])
            .client(vec![get(), Do::Mark, Blocked(1), post(3)])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 2),
        case2("a RST that the reactor has not seen, then a POST", "9113 9.1", "the kernel is asked: sent on a new one")
            .server([[answers(), vec![Reached(1), Reset, Mark]].concat(), answers()])
            .client(vec![get(), Do::Mark, Blocked(1), post(3)])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 2),
        case2("a GOAWAY and FIN that the reactor has not seen, then a POST", "9113 6.8", "sent on a new one")
            .server([[answers(), vec![Reached(1), goaway(1, NO_ERROR), Close, Mark]].concat(), answers()])
            .client(vec![get(), Do::Mark, Blocked(1), post(3)])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 2),
        case2("a PING that the reactor has not seen, then a POST", "9113 6.7", "the connection is used again")
            .server([[answers(), vec![Reached(1), says(frame(6, 0, 0, b"anything")), Mark, Frame(HEADERS), ok(3, 0, 2), data(3, END_STREAM, b"ok")]].concat()])
            .client(vec![get(), Do::Mark, Blocked(1), post(3)])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 1),
        case2("a connection that is reset at once", "9113 3.4", "fails the dial")
            .server([vec![Reset]]).client(vec![get()]).right(|seen| seen.answers() == ["Connect"]),
        case2("an answer and RST that the reactor has not seen, then a POST", "9113 5.4.1", "the answer is read")
            .server([vec![settings(), Frame(HEADERS), Mark, Reached(1), at_once([ok(1, 0, 2), data(1, END_STREAM, b"ok")]), Reset, Mark]])
            .client(vec![get().start(), Do::Reached(1), Do::Mark, Blocked(2), post(3)])
            .right(|seen| seen.answers() == ["ClosedAfterSent", "200 ok"]).cap(1),
        case2("a POST on a fresh connection that is reset", "9110 9.2.2", "told, never sent twice")
            .server([ends(Reset), answers()]).client(vec![post(3)])
            .right(|seen| seen.answers() == ["ClosedAfterSent"] && seen.connections() == 1),
    ]
}
