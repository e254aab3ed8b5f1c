//! Peers that speak something else: the call fails at once, and its error says what to write.

use crate::script::Do::{self, Reached, Settle};
use crate::script::Step::{self, Close, Head, Hold, Mark, ReadToEnd};
use crate::script::{Case, case, get, post, says};

/// A fatal alert, `unexpected_message`: how a TLS server answers HTTP/1 in the clear.
const ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x0a];
/// SETTINGS with the number of streams, by which an HTTP/2 server begins.
const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let secure = |seen: &crate::play::Seen| seen.advises(&["TLS alert", "write https"]) && seen.connections() == 1;
    let http2 = |seen: &crate::play::Seen| seen.advises(&["SETTINGS", "Protocol::Http2"]) && seen.connections() == 1;
    vec![
        case("noise for a GET, the socket stays", "9112 2.2", "fails at once, and its place is free")
            .server([vec![Head, says("noise\r\n\r\n"), ReadToEnd], vec![Head, says(crate::h1::OK)]]).client(vec![get(), get()])
            .right(|seen| seen.answers() == ["Exchange", "200 ok"]),
        case("a TLS alert for a GET", "8446 6", "fails at once, and says https")
            .server([vec![Head, says(ALERT), Close]]).client(vec![get()]).right(secure),
        case("a TLS alert for a POST, the socket stays", "8446 6", "fails at once, and says https")
            .server([vec![Head, says(ALERT), Hold]]).client(vec![post(3)]).right(secure),
        case("a TLS alert for a GET, cut behind a byte", "8446 6", "fails at once, and says https")
            .server([vec![Head, says(&ALERT[..1]), Mark, Step::Reached(1), says(&ALERT[1..]), Close]])
            .client(vec![get().start(), Reached(1), Settle, Do::Mark]).right(secure),
        case("SETTINGS for a GET, cut within their head", "9113 3.4", "fails at once, and says HTTP/2")
            .server([vec![Head, says(&SETTINGS[..5]), Mark, Step::Reached(1), says(&SETTINGS[5..]), ReadToEnd]])
            .client(vec![get().start(), Reached(1), Settle, Do::Mark]).right(http2),
        case("SETTINGS for a GET", "9113 3.4", "fails at once, and says HTTP/2")
            .server([vec![Head, says(SETTINGS), ReadToEnd]]).client(vec![get()]).right(http2),
        case("SETTINGS before the request", "9113 3.4", "fails at once, and says HTTP/2")
            .server([vec![says(SETTINGS), ReadToEnd, Mark]]).client(vec![get(), Reached(1)]).right(http2),
    ]
}
