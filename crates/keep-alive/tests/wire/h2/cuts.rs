//! Responses that are cut at other moments: in place of a head, behind one, amid trailers.

use super::ends::{DATA, answers, broke};
use super::frames::{
    END_HEADERS, END_STREAM, HEADERS, NO_ERROR, REFUSED_STREAM, at_once, data, early_hints, frame,
    head, ok, rst, trailers,
};
use crate::play::Outcome;
use crate::script::Step::Close;
use crate::script::{Case, case2, get, post, says};

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case2("a reset with NO_ERROR behind a head without a length", "9113 8.1", "the body breaks")
            .server([answers(vec![head(1, 0), rst(1, NO_ERROR)])]).client(vec![get()]).right(broke),
        case2("the same, in one segment", "9113 8.1", "the body breaks")
            .server([answers(vec![at_once([head(1, 0), rst(1, NO_ERROR)])])]).client(vec![get()]).right(broke),
        case2("a reset with REFUSED_STREAM behind a head", "9113 8.7", "the body breaks, nothing is sent again")
            .server([answers(vec![head(1, 0), rst(1, REFUSED_STREAM)])]).client(vec![get()])
            .right(|seen| broke(seen) && seen.connections() == 1),
        case2("a reset with NO_ERROR in place of a head", "9113 8.1", "the call fails")
            .server([answers(vec![rst(1, NO_ERROR)])]).client(vec![post(3)])
            .right(|seen| matches!(&seen.outcomes[..], [Outcome::Failed(_)])),
        case2("a reset with NO_ERROR behind 103", "9113 8.1", "the call fails")
            .server([answers(vec![early_hints(1), rst(1, NO_ERROR)])]).client(vec![post(3)])
            .right(|seen| matches!(&seen.outcomes[..], [Outcome::Failed(_)])),
        case2("a reset with NO_ERROR amid trailers", "9113 8.1", "the body breaks")
            .server([answers(vec![head(1, 0), data(1, 0, &DATA), says(frame(HEADERS, END_STREAM, 1, b"\x00\x01a\x01b")), rst(1, NO_ERROR)])])
            .client(vec![get()]).right(broke),
        case2("a FIN amid trailers", "9113 8.1", "the body breaks")
            .server([answers(vec![head(1, 0), data(1, 0, &DATA), says(frame(HEADERS, END_STREAM, 1, b"\x00\x01a\x01b")), Close])])
            .client(vec![get()]).right(broke),
        case2("trailers without END_STREAM", "9113 8.1", "the body breaks")
            .server([answers(vec![head(1, 0), data(1, 0, &DATA), says(frame(HEADERS, END_HEADERS, 1, b"\x00\x01a\x01b"))])])
            .client(vec![get()]).right(broke),
        case2("trailers before the announced length", "9113 8.1.1", "the body breaks")
            .server([answers(vec![ok(1, 0, 1000), data(1, 0, &DATA), trailers(1)])]).client(vec![get()]).right(broke),
        case2("two lengths that differ", "9113 8.1.1", "the call fails")
            .server([answers(vec![says(frame(HEADERS, END_HEADERS, 1, b"\x88\x0f\x0d\x012\x0f\x0d\x013")), data(1, END_STREAM, b"ok")])])
            .client(vec![get()]).right(|seen| !matches!(&seen.outcomes[..], [Outcome::Answer(..)])).ours_alone(),
    ]
}
