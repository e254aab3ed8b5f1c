//! A peer that answers HTTP/2 with `HTTP_1_1_REQUIRED`, by a reset or by GOAWAY: where ALPN agrees on the
//! version, the origin is spoken to over HTTP/1.1 from then on, and what the peer has not processed is
//! sent again so.

use std::num::NonZeroUsize;

use tollgate_keep_alive::Http2Options;

use super::frames::{
    END_STREAM, HEADERS, HTTP_1_1_REQUIRED, SETTINGS, at_most, at_once, data, goaway, head, ok,
    rst, settings,
};
use crate::h1::OK;
use crate::play::Seen;
use crate::script::Do::{self, Settle};
use crate::script::Step::{self, Close, Frame, Head, Mark, Reached, ReadToEnd};
use crate::script::{Case, case2, get, post, says};

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// The first connection, over HTTP/2, and one of HTTP/1.1 behind it.
fn then_http1(first: Vec<Step>) -> [Vec<Step>; 2] {
    [first, vec![Head, says(OK), Head, says(OK)]]
}

fn fresh(steps: Vec<Step>) -> [Vec<Step>; 2] {
    then_http1([vec![settings(), Frame(HEADERS)], steps].concat())
}

fn used(steps: Vec<Step>) -> [Vec<Step>; 2] {
    let served = vec![
        settings(),
        Frame(HEADERS),
        ok(1, 0, 2),
        data(1, END_STREAM, b"ok"),
    ];
    then_http1([served, steps].concat())
}

/// All calls were answered, those behind the first connection over HTTP/1.1.
fn moved(seen: &Seen) -> bool {
    seen.answers().iter().all(|answer| answer == "200 ok") && over_http1(seen)
}

fn over_http1(seen: &Seen) -> bool {
    seen.connections() == 2 && seen.text(1).contains(" / HTTP/1.1\r\n")
}

/// The first call was lost, and the next one went over HTTP/1.1.
fn told(seen: &Seen) -> bool {
    seen.answers() == ["ClosedAfterSent", "200 ok"] && over_http1(seen)
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let leaves = |last| vec![goaway(last, HTTP_1_1_REQUIRED), Close];
    let cases = vec![
        case2("a stream reset so, of a POST", "9113 7", "sent again, and the next one, over HTTP/1.1")
            .server(fresh(vec![rst(1, HTTP_1_1_REQUIRED)])).client(vec![post(3), post(3)]).right(moved),
        case2("the same on a used connection", "9113 7", "sent again, and the next one, over HTTP/1.1")
            .server(used(vec![Frame(HEADERS), rst(3, HTTP_1_1_REQUIRED)])).client(vec![get(), post(3), post(3)]).right(moved),
        case2("a GOAWAY so, below a POST", "9113 6.8", "sent again, and the next one, over HTTP/1.1")
            .server(fresh(leaves(0))).client(vec![post(3), post(3)]).right(moved),
        case2("the same, and the socket stays", "9113 6.8", "sent again, and the next one, over HTTP/1.1")
            .server(fresh(vec![goaway(0, HTTP_1_1_REQUIRED), ReadToEnd])).client(vec![post(3), post(3)]).right(moved),
        case2("the same on a used connection", "9113 6.8", "sent again, and the next one, over HTTP/1.1")
            .server(used([vec![Frame(HEADERS)], leaves(1)].concat())).client(vec![get(), post(3), post(3)]).right(moved),
        case2("a GOAWAY so that counts a GET in", "9113 6.8", "sent once more, over HTTP/1.1")
            .server(fresh(leaves(1))).client(vec![get(), post(3)]).right(moved),
        case2("a GOAWAY so that counts a POST in", "9113 6.8", "told, never sent twice; the next one over HTTP/1.1")
            .server(fresh(leaves(1))).client(vec![post(3), get()]).right(told),
        case2("a GOAWAY so that counts a GET in, on a used connection", "9113 6.8", "sent once more, over HTTP/1.1")
            .server(used([vec![Frame(HEADERS)], leaves(3)].concat())).client(vec![get(), get(), post(3)]).right(moved),
        case2("a GOAWAY so that counts a POST in, on a used connection", "9113 6.8", "told, never sent twice; the next one over HTTP/1.1")
            .server(used([vec![Frame(HEADERS)], leaves(3)].concat())).client(vec![get(), post(3), get()])
            .right(|seen| seen.answers() == ["200 ok", "ClosedAfterSent", "200 ok"] && over_http1(seen)),
        case2("a GOAWAY so that counts a POST in, and answers it", "9113 6.8", "the answer stands; the next one over HTTP/1.1")
            .server(fresh(vec![at_once([goaway(1, HTTP_1_1_REQUIRED), ok(1, 0, 2), data(1, END_STREAM, b"ok")])]))
            .client(vec![post(3), post(3)]).right(moved),
        case2("a GOAWAY so on an idle connection", "9113 6.8", "the next call over HTTP/1.1")
            .server(used(vec![goaway(1, HTTP_1_1_REQUIRED), Close, Mark])).client(vec![get(), Do::Reached(1), Settle, post(3)]).right(moved),
        case2("a GOAWAY so behind SETTINGS, before a request", "9113 6.8", "sent over HTTP/1.1")
            .server(then_http1(vec![Frame(SETTINGS), at_once([settings(), goaway(0, HTTP_1_1_REQUIRED)]), Close])).client(vec![post(3), get()]).right(moved),
        case2("a GOAWAY so in place of SETTINGS", "9113 6.8", "sent over HTTP/1.1")
            .server(then_http1(vec![Frame(SETTINGS), goaway(0, HTTP_1_1_REQUIRED), Close])).client(vec![post(3), get()]).right(moved),
        case2("a stream reset so, while another dial has offered HTTP/2", "9113 7", "both calls over HTTP/1.1")
            .server([vec![at_most(1), Frame(HEADERS), Mark, Reached(1), rst(1, HTTP_1_1_REQUIRED)],
                vec![Step::Accept(2), settings(), Frame(HEADERS), rst(1, HTTP_1_1_REQUIRED)],
                vec![Head, says(OK), Mark, Head, says(OK), Head, says(OK)]])
            .client(vec![post(3).start(), Do::Reached(1), get().start(), Do::Reached(2), Do::Mark, Do::Reached(3), Do::Mark, post(3)])
            .cap(3).options(|layer| layer.http2(Http2Options::new().max_http2_connections(TWO)))
            .right(|seen| seen.answers() == ["200 ok"; 3] && (3..=4).contains(&seen.connections())),
        case2("a GOAWAY so, and HTTP/2 again", "9113 6.8", "told, not sent for ever")
            .server([fresh(leaves(0))[0].clone()]).client(vec![post(3)])
            .right(|seen| seen.connections() == 2 && seen.answers().len() == 1 && !seen.answers()[0].starts_with("200")),
    ];
    cases.into_iter().map(Case::over_tls).collect()
}

#[rustfmt::skip]
pub(crate) fn by_prior_knowledge() -> Vec<Case> {
    vec![
        case2("HTTP_1_1_REQUIRED for a stream, by prior knowledge", "9113 7", "the call fails, with the option to change")
            .server([vec![settings(), Frame(HEADERS), rst(1, HTTP_1_1_REQUIRED), Frame(HEADERS), head(3, END_STREAM)]]).client(vec![get(), get()])
            .right(|seen| seen.answers() == ["Exchange", "200"] && advises_prior(seen)),
        case2("GOAWAY with HTTP_1_1_REQUIRED, by prior knowledge", "9113 7", "the call fails, with the option to change")
            .server([vec![settings(), Frame(HEADERS), goaway(0, HTTP_1_1_REQUIRED), ReadToEnd]]).client(vec![get()])
            .right(|seen| seen.answers() == ["Exchange"] && advises_prior(seen)),
        case2("the same on a used connection", "9113 7", "the call fails, with the option to change")
            .server([[used(vec![])[0].clone(), vec![Frame(HEADERS), goaway(1, HTTP_1_1_REQUIRED), ReadToEnd]].concat()]).client(vec![get(), post(3)])
            .right(|seen| seen.answers() == ["200 ok", "Exchange"] && advises_prior(seen)),
        case2("the same, counting the POST in, then FIN", "9113 7", "the call is lost, with the option to change")
            .server([vec![settings(), Frame(HEADERS), goaway(1, HTTP_1_1_REQUIRED), Close]]).client(vec![post(3)])
            .right(|seen| seen.answers() == ["ClosedAfterSent"] && advises_prior(seen) && seen.connections() == 1),
    ]
}

fn advises_prior(seen: &Seen) -> bool {
    seen.advises(&["requires HTTP/1.1", "leave Protocol::Http2 out"])
}
