//! Heads as servers write them: folded, long, crooked.

use bytes::Bytes;
use http::Method;
use tollgate_keep_alive::Http1Options;

use crate::play::Outcome;
use crate::script::Step::{Body, Close, Head};
use crate::script::{Case, Do, Upload, call, case, get, post, says};

const FOLDED: &str = "HTTP/1.1 200 OK\r\nx-long: a\r\n b\r\ncontent-length: 2\r\n\r\nok";
const SPACED: &str = "HTTP/1.1 200 OK\r\nx-odd : a\r\ncontent-length: 2\r\n\r\nok";
const INVALID: &str = "HTTP/1.1 200 OK\r\nno colon here\r\ncontent-length: 2\r\n\r\nok";

/// So many header fields.
fn fields(fields: usize) -> String {
    let fields: Vec<_> = (0..fields).map(|n| format!("x-{n}: value\r\n")).collect();
    fields.concat()
}

/// An answer with so many header fields beside its length.
fn many(number: usize) -> String {
    let fields = fields(number);
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok")
}

/// The two parts of an answer with 150 fields that ends with its connection.
fn parts() -> [String; 2] {
    [
        format!("HTTP/1.1 200 OK\r\n{}", fields(120)),
        format!("{}\r\nok", fields(30)),
    ]
}

/// An answer with 150 fields and a body of so many bytes, in chunks.
fn chunked(bytes: usize) -> String {
    let (fields, body) = (fields(150), "x".repeat(bytes));
    format!(
        "HTTP/1.1 200 OK\r\n{fields}transfer-encoding: chunked\r\n\r\n{bytes:x}\r\n{body}\r\n0\r\n\r\n"
    )
}

const LONG: usize = 1 << 20;

fn one() -> Vec<Do> {
    vec![get()]
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let ok = |seen: &crate::play::Seen| seen.answers().iter().all(|answer| answer == "200 ok");
    let refused = |seen: &crate::play::Seen| seen.answers() == ["Exchange"];
    vec![
        case("a value folded over two lines", "9112 5.2", "taken as spaces")
            .server([vec![Head, says(FOLDED)]]).client(one()).right(ok),
        case("a folded value for the first POST", "9112 5.2", "taken as spaces, the POST is sent once")
            .server([vec![Head, says(FOLDED)], vec![Head, says(FOLDED), Head, says(FOLDED)]]).client(vec![post(3), post(3), get()])
            .right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 2 && seen.text(0).matches("POST").count() == 1),
        case("a folded value behind 150 header fields", "9112 5.2", "taken as spaces")
            .server([vec![Head, says(many(150).replace("x-3: value", "x-3: a\r\n b"))]]).client(vec![post(3)]).right(ok),
        case("a folded value, the fold in a later piece", "9112 5.2", "taken as spaces")
            .server([vec![Head, says(&FOLDED[..28]), says(&FOLDED[28..])]]).client(vec![post(3)]).right(ok),
        case("a line that is none, again and again", "9112 5", "errors, no connection reads folds for it")
            .server([vec![Head, says(INVALID)], vec![Head, says(INVALID)]]).client(vec![post(3), post(3)])
            .right(|seen| seen.answers() == ["Exchange"; 2] && seen.connections() == 2),
        case("150 header fields", "9110 5.4", "read")
            .server([vec![Head, says(many(150)), Head, says(many(150))]]).client(vec![get(), post(3)]).right(ok),
        case("150 header fields for the first POST", "9110 5.4", "read, the POST is sent once")
            .server([vec![Head, says(many(150))], vec![Head, says(many(150)), Head, says(many(150))]]).client(vec![post(3), post(3), get()])
            .right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 2 && seen.text(0).matches("POST").count() == 1),
        case("150 header fields for a stream of unknown length", "9110 5.4", "read")
            .server([vec![Head, Body(10), says(many(150))]])
            .client(vec![call(Method::POST).upload(Upload::Chunks(vec![Bytes::from("hello")]))]).right(ok),
        case("150 header fields for a HEAD, and a length", "9110 9.3.2", "read, no body is waited for")
            .server([vec![Head, says(many(150).replace("\r\n\r\nok", "\r\n\r\n"))]]).client(vec![call(Method::HEAD), call(Method::HEAD)])
            .right(|seen| seen.answers() == ["200"; 2]),
        case("150 header fields in two parts, then a close", "9112 6.3", "read, the body to the close")
            .server([vec![Head, says(parts()[0].clone()), says(parts()[1].clone()), Close]]).client(vec![post(3)]).right(ok),
        case("150 header fields behind 103", "9110 15.2", "read")
            .server([vec![Head, says(format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", many(150)))]]).client(vec![post(3)]).right(ok),
        case("150 header fields and a body in chunks", "9112 7.1", "read to its end")
            .server([vec![Head, says(chunked(LONG))]]).client(vec![post(3), get()])
            .right(|seen| seen.outcomes.len() == 2 && seen.outcomes.iter().all(|one| matches!(one, Outcome::Answer(200, body) if body.len() == LONG))),
        case("150 header fields, cut in the middle of them", "9112 8", "an error, the POST is sent once")
            .server([vec![Head, says(many(150)[..1_500].to_owned()), Close]]).client(vec![post(3)])
            .right(|seen| matches!(&seen.outcomes[..], [Outcome::Failed(_)]) && seen.connections() == 1),
        case("3,000 header fields", "9110 5.4", "an error that names limit and option")
            .server([vec![Head, says(many(3_000))]]).client(vec![post(3)])
            .right(|seen| seen.answers() == ["Exchange"] && seen.advises(&["2048 fields", "Http1Options::max_headers"])),
        case("150 header fields, a limit of 120 set", "9110 5.4", "an error that names limit and option")
            .server([vec![Head, says(many(150))]]).client(one())
            .options(|layer| layer.http1(Http1Options::new().max_headers(120))).ours_alone()
            .right(|seen| seen.answers() == ["Exchange"] && seen.advises(&["120 fields", "Http1Options::max_headers"])),
        case("a space before the colon", "9112 5.1", "an error")
            .server([vec![Head, says(SPACED)]]).client(one()).right(refused),
        case("a space before the colon, leniency set", "9112 5.1", "read")
            .server([vec![Head, says(SPACED)]]).client(one())
            .options(|layer| layer.http1(Http1Options::new().spaces_after_header_names(true))).right(ok).ours_alone(),
        case("a header line without a colon", "9112 5", "an error")
            .server([vec![Head, says(INVALID)]]).client(one()).right(refused),
        case("a header line without a colon, leniency set", "9112 5", "passed over")
            .server([vec![Head, says(INVALID)]]).client(one())
            .options(|layer| layer.http1(Http1Options::new().ignore_invalid_headers(true))).right(ok).ours_alone(),
        case("title case set", "9110 5.1", "names are written so")
            .server([vec![Head, says(many(0))]]).client(vec![get().header("x-own-name", "y")])
            .options(|layer| layer.http1(Http1Options::new().title_case_headers(true)))
            .right(|seen| seen.text(0).contains("X-Own-Name: y") && seen.text(0).contains("Host: ")).ours_alone(),
    ]
}
