//! HTTP/2 (RFC 9113).

mod cuts;
mod ends;
mod frames;
mod http1_required;
mod lengths;
mod losses;
mod mistakes;
mod refused;
mod streams;

use crate::script::Step::Frame;
use crate::script::{Case, case2, get};
use crate::table::check;
use crate::tls::below;
use frames::{END_STREAM, HEADERS, data, ok, settings};

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    vec![
        case2("two calls, one after the other", "9113 9.1", "one connection")
            .server([vec![settings(), Frame(HEADERS), ok(1, 0, 2), data(1, END_STREAM, b"ok"),
                Frame(HEADERS), ok(3, 0, 2), data(3, END_STREAM, b"ok")]]).client(vec![get(), get()])
            .right(|seen| seen.answers() == ["200 ok", "200 ok"] && seen.connections() == 1),
    ]
}

#[test]
fn http2_as_servers_speak_it() {
    let mut all = cases();
    all.extend(ends::cases());
    all.extend(cuts::cases());
    all.extend(streams::cases());
    all.extend(mistakes::cases());
    all.extend(losses::cases());
    all.extend(refused::cases());
    all.extend(http1_required::by_prior_knowledge());
    check("HTTP/2", &all);
}

#[test]
fn an_origin_that_requires_http1_is_moved_there() {
    check("HTTP_1_1_REQUIRED", &http1_required::cases());
}

#[test]
fn http2_is_the_same_below_tls() {
    check("HTTP/2 by ALPN", &below(cases()));
    check("HTTP/2 by ALPN: ends", &below(ends::cases()));
    check("HTTP/2 by ALPN: cuts", &below(cuts::cases()));
    check("HTTP/2 by ALPN: streams", &below(streams::cases()));
    check("HTTP/2 by ALPN: losses", &below(losses::cases()));
    check("HTTP/2 by ALPN: refused", &below(refused::cases()));
    check("HTTP/2 by ALPN: lengths", &below(lengths::cases()));
}

#[test]
fn frames_are_read_wherever_they_are_cut() {
    check("HTTP/2: pieces", &streams::in_pieces());
    check("HTTP/2 by ALPN: pieces", &below(streams::in_pieces()));
}

#[test]
fn a_wrong_body_length_fails_only_its_stream() {
    check("HTTP/2: lengths", &lengths::cases());
}
