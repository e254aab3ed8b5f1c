//! Where a response ends: behind `END_STREAM`, and nowhere else.

use super::frames::{
    CANCEL, END_STREAM, HEADERS, INTERNAL_ERROR, NO_ERROR, at_once, data, goaway, head, ok, rst,
    settings, trailers,
};
use crate::play::{Outcome, Seen};
use crate::script::Step::{self, Close, Frame};
use crate::script::{Case, Upload, call, case2, get};

pub(super) const DATA: [u8; 100] = [b'x'; 100];

/// A server that takes one request and answers it so.
pub(super) fn answers(steps: Vec<Step>) -> Vec<Step> {
    let mut all = vec![settings(), Frame(HEADERS)];
    all.extend(steps);
    all
}

pub(super) fn broke(seen: &Seen) -> bool {
    matches!(&seen.outcomes[..], [Outcome::Broke(200, _)])
}

fn whole(seen: &Seen) -> bool {
    matches!(&seen.outcomes[..], [Outcome::Answer(200, body)] if body.len() == DATA.len())
}

/// A part of a body, its length announced or not, and an end that is none.
#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let upload = || call(http::Method::POST).upload(Upload::Stuck("part".into()));
    vec![
        case2("a reset with NO_ERROR in the middle of a body", "9113 8.1", "the body breaks")
            .server([answers(vec![ok(1, 0, 1000), data(1, 0, &DATA), rst(1, NO_ERROR)])]).client(vec![get()])
            .right(broke),
        case2("the same without a length", "9113 8.1", "the body breaks")
            .server([answers(vec![head(1, 0), data(1, 0, &DATA), rst(1, NO_ERROR)])]).client(vec![get()])
            .right(broke),
        case2("the same, all in one segment", "9113 8.1", "the body breaks")
            .server([answers(vec![at_once([head(1, 0), data(1, 0, &DATA), rst(1, NO_ERROR)])])]).client(vec![get()])
            .right(broke),
        case2("a reset with NO_ERROR before the first byte", "9113 8.1", "the body breaks")
            .server([answers(vec![ok(1, 0, 1000), rst(1, NO_ERROR)])]).client(vec![get()])
            .right(broke),
        case2("a reset with NO_ERROR after the last byte, before trailers", "9113 8.1", "the body breaks")
            .server([answers(vec![ok(1, 0, 100), data(1, 0, &DATA), rst(1, NO_ERROR)])]).client(vec![get()])
            .right(broke),
        case2("a GOAWAY with NO_ERROR and FIN in the middle of a body", "9113 6.8", "the body breaks")
            .server([answers(vec![head(1, 0), data(1, 0, &DATA), goaway(1, NO_ERROR), Close])]).client(vec![get()])
            .right(broke),
        case2("a FIN in the middle of a body", "9113 5.1", "the body breaks")
            .server([answers(vec![head(1, 0), data(1, 0, &DATA), Close])]).client(vec![get()])
            .right(broke),
        case2("a reset with CANCEL in the middle of a body", "9113 8.1", "the body breaks")
            .server([answers(vec![head(1, 0), data(1, 0, &DATA), rst(1, CANCEL)])]).client(vec![get()])
            .right(broke),
        case2("a reset with INTERNAL_ERROR, then another call", "9113 5.4.2", "one connection for both")
            .server([vec![settings(), Frame(HEADERS), head(1, 0), data(1, 0, &DATA), rst(1, INTERNAL_ERROR),
                Frame(HEADERS), ok(3, 0, 100), data(3, END_STREAM, &DATA)]]).client(vec![get(), get()])
            .right(|seen| seen.connections() == 1 && matches!(&seen.outcomes[..], [Outcome::Broke(..), Outcome::Answer(200, _)])),
        case2("END_STREAM before the announced length", "9113 8.1.1", "the body breaks")
            .server([answers(vec![ok(1, 0, 1000), data(1, END_STREAM, &DATA)])]).client(vec![get()])
            .right(broke),
        case2("more than the announced length", "9113 8.1.1", "the body breaks")
            .server([answers(vec![ok(1, 0, 10), data(1, END_STREAM, &DATA)])]).client(vec![get()])
            .right(broke),
        case2("END_STREAM with the head, and a length announced", "9113 8.1.1", "the call fails")
            .server([answers(vec![ok(1, END_STREAM, 1000)])]).client(vec![get()])
            .right(|seen| seen.answers() == ["Exchange"] || broke(seen)),
        case2("the same for a HEAD", "9110 9.3.2", "the answer stands")
            .server([answers(vec![ok(1, END_STREAM, 1000)])]).client(vec![call(http::Method::HEAD)])
            .right(|seen| seen.answers() == ["200"]),
        case2("a whole answer, then a reset with NO_ERROR", "9113 8.1", "the answer stands")
            .server([answers(vec![at_once([head(1, 0), data(1, END_STREAM, &DATA), rst(1, NO_ERROR)])])]).client(vec![get()])
            .right(whole),
        case2("the same in the middle of an upload", "9113 8.1", "the answer stands")
            .server([answers(vec![at_once([head(1, 0), data(1, END_STREAM, &DATA), rst(1, NO_ERROR)])])]).client(vec![upload()])
            .right(whole),
        case2("the same with trailers", "9113 8.1", "the answer stands")
            .server([answers(vec![at_once([head(1, 0), data(1, 0, &DATA), trailers(1), rst(1, NO_ERROR)])])]).client(vec![upload()])
            .right(whole),
        case2("a head that is the whole answer, in the middle of an upload", "9113 8.1", "the answer stands")
            .server([answers(vec![at_once([head(1, END_STREAM), rst(1, NO_ERROR)])])]).client(vec![upload()])
            .right(|seen| seen.answers() == ["200"]),
    ]
}
