//! Streams beside others on one connection, which end alone.

use super::ends::{DATA, answers};
use super::frames::{
    END_STREAM, HEADERS, NO_ERROR, RST_STREAM, at_once, data, goaway, head, rst, settings,
};
use crate::play::Outcome;
use crate::script::Do;
use crate::script::Step::{self, Frame, Mark};
use crate::script::{Case, Upload, call, case2, get, post, says};

/// A head, and DATA of 64 KiB but one byte: the whole first window of a connection.
fn full(stream: u32) -> Vec<Step> {
    let mut frames = vec![head(stream, 0)];
    frames.extend((0..3).map(|_| data(stream, 0, &[b'x'; 16_384])));
    frames.push(data(stream, 0, &[b'x'; 16_383]));
    frames
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case2("one of two streams reset with NO_ERROR", "9113 5.4.2", "the other one is answered")
            .server([vec![settings(), Frame(HEADERS), Mark, Frame(HEADERS), head(1, 0), data(1, 0, &DATA), rst(1, NO_ERROR), head(3, 0), data(3, END_STREAM, &DATA)]])
            .client(vec![get().start(), Do::Reached(1), get()])
            .right(|seen| seen.connections() == 1 && matches!(&seen.outcomes[..], [Outcome::Answer(200, _), Outcome::Broke(200, _)])),
        case2("a GOAWAY, then the rest of both streams below it", "9113 6.8", "both are answered, the next call on a new one")
            .server([vec![settings(), Frame(HEADERS), Mark, Frame(HEADERS), goaway(3, NO_ERROR), head(1, 0), data(1, END_STREAM, &DATA), head(3, 0), data(3, END_STREAM, &DATA)],
                answers(vec![head(1, 0), data(1, END_STREAM, &DATA)])])
            .client(vec![get().start(), Do::Reached(1), get(), get()])
            .right(|seen| seen.connections() == 2 && seen.outcomes.iter().all(|one| matches!(one, Outcome::Answer(200, body) if body.len() == 100))),
        case2("an upload that fails", "9113 8.1", "the call fails with that, its stream alone")
            .server([vec![settings(), Frame(HEADERS), Frame(RST_STREAM), Frame(HEADERS), head(3, END_STREAM)]])
            .client(vec![call(http::Method::POST).upload(Upload::Fails("part".into())), get()])
            .right(|seen| seen.answers() == ["Exchange", "200"] && seen.connections() == 1 && seen.advises(&["the caller's own error"])).ours_alone(),
        case2("an upload that fails behind a whole answer", "9113 8.1", "the next call is served, on the connection")
            .server([vec![settings(), Frame(HEADERS), at_once([head(1, 0), data(1, END_STREAM, &DATA)]), Frame(HEADERS), head(3, END_STREAM)]])
            .client(vec![call(http::Method::POST).upload(Upload::Fails("part".into())), get()])
            .right(|seen| seen.answers()[1] == "200" && seen.connections() == 1).ours_alone(),
        case2("a body that is dropped unread", "9113 5.1", "its stream is reset, the connection serves")
            .server([vec![settings(), Frame(HEADERS), head(1, 0), data(1, 0, &DATA), Frame(RST_STREAM), Frame(HEADERS), head(3, END_STREAM)]])
            .client(vec![get().dropped(), Do::Settle, get()])
            .right(|seen| seen.answers() == ["200", "200"] && seen.connections() == 1),
        case2("a body that is held unread, its window used up", "9113 5.2", "others are served beside it")
            .server([vec![settings(), Frame(HEADERS), at_once(full(1)), Frame(HEADERS), head(3, END_STREAM)]])
            .client(vec![get().held(), get()])
            .right(|seen| seen.answers() == ["200", "200"] && seen.connections() == 1),
    ]
}

/// An answer, and a GOAWAY behind it, in two pieces: cut at each byte.
pub(crate) fn in_pieces() -> Vec<Case> {
    let whole = at_once([head(1, 0), data(1, END_STREAM, b"ok"), goaway(1, NO_ERROR)]);
    let Step::Says(bytes) = whole else {
        return Vec::new();
    };
    let cut = |at| {
        let (first, second) = (says(bytes.slice(..at)), says(bytes.slice(at..)));
        let pieces = vec![first, Mark, Step::Reached(1), second];
        let name = format!("an answer and a GOAWAY, cut behind {at} bytes");
        case2(name.leak(), "9113 4.1", "read; the next call on a new one")
            .server([
                [vec![settings(), Frame(HEADERS)], pieces].concat(),
                answers(vec![head(1, 0), data(1, END_STREAM, b"ok")]),
            ])
            .client(vec![
                get().start(),
                Do::Reached(1),
                Do::Settle,
                Do::Mark,
                post(3),
            ])
            .right(|seen| seen.answers() == ["200 ok"; 2])
            .ours_alone()
    };
    (1..bytes.len()).map(cut).collect()
}
