//! What is no HTTP/1.1 response, or hardly one.

use bytes::Bytes;
use tollgate_testing::Reply;

use crate::play::play_all;
use crate::script::{Script, does, says};

const BODY: &str = "content-length: 4\r\n\r\nbody";

pub(crate) fn scripts() -> Vec<Script> {
    let mut all = other_protocols();
    all.extend(status_lines());
    all.extend(headers());
    all.extend(floods());
    all
}

fn other_protocols() -> Vec<Script> {
    const ALERT: &[u8] = &[21, 3, 1, 0, 2, 2, 10];
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    vec![
        says("a TLS alert", ALERT).not_http(),
        says("the settings of HTTP/2", SETTINGS).not_http(),
        says("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").not_http(),
        says("the banner of SSH", "SSH-2.0-OpenSSH_9.6\r\n").not_http(),
        says("the greeting of SMTP", "220 mail.test ESMTP\r\n").not_http(),
        does(
            "a page of HTTP/0.9",
            Reply::raw("<html>hello</html>").close(),
        )
        .not_http(),
        says(
            "an echo of the request",
            "GET /broken HTTP/1.1\r\nhost: x\r\n\r\n",
        )
        .not_http(),
        says("a radio", format!("ICY 200 OK\r\n{BODY}")).not_http(),
        says("noise", noise()).not_http(),
        says("NUL bytes", vec![0; 4096]).not_http(),
    ]
}

/// Bytes without a pattern, the same in every run.
fn noise() -> Bytes {
    let mut state = 7_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 | 0x80
    };
    (0..4096).map(|_| byte()).collect()
}

fn status_lines() -> Vec<Script> {
    let line = |line: &str| format!("{line}\r\n{BODY}");
    vec![
        says("HTTP/2.0 in words", line("HTTP/2.0 200 OK")).not_http(),
        says("HTTP/1.2", line("HTTP/1.2 200 OK")).not_http(),
        says("a version in small letters", line("http/1.1 200 OK")).not_http(),
        says("a status of two digits", line("HTTP/1.1 20 OK")).not_http(),
        says("a status of four digits", line("HTTP/1.1 2000 OK")).not_http(),
        says("a status of letters", line("HTTP/1.1 abc OK")).not_http(),
        says("a negative status", line("HTTP/1.1 -20 OK")).not_http(),
        says("a status of zero", line("HTTP/1.1 000 OK")).not_http(),
        says("no status", line("HTTP/1.1")).not_http(),
        says("a NUL in the reason", line("HTTP/1.1 200 O\0K")).not_http(),
        says("a status that nobody knows", line("HTTP/1.1 999 Who"))
            .answers_with(999, "body")
            .kept(),
        says("no reason", line("HTTP/1.1 200"))
            .answers("body")
            .kept(),
        says("empty lines first", line("\r\n\r\nHTTP/1.1 200 OK"))
            .answers("body")
            .kept(),
        says("only LF", "HTTP/1.1 200 OK\ncontent-length: 4\n\nbody")
            .answers("body")
            .kept(),
    ]
}

fn headers() -> Vec<Script> {
    let with = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\n{BODY}");
    vec![
        says("a header without a colon", with("none")).not_http(),
        says("a header without a name", with(": value")).not_http(),
        says("a space before the colon", with("x : y")).not_http(),
        // Read again by a parser that takes it, and closed behind it.
        says("a folded header", with("x: y\r\n z")).answers("body"),
        says("a folded length", with("x: y\r\n\tcontent-length: 9")).answers("body"),
        says("a NUL in a name", with("x\0: y")).not_http(),
        says("a NUL in a value", with("x: y\0z")).not_http(),
        says("a CR in a value", with("x: y\rz")).not_http(),
        says("a delete in a value", with("x: y\x7fz")).not_http(),
        says("a name that is no ASCII", with("\u{fc}: y")).not_http(),
        says("a value that is no ASCII", with("x: \u{fc}"))
            .answers("body")
            .kept(),
        says("an empty value", with("x:")).answers("body").kept(),
        says(
            "a header of 100 KiB",
            with(&format!("x: {}", "y".repeat(100 << 10))),
        )
        .answers("body")
        .kept(),
    ]
}

fn floods() -> Vec<Script> {
    let head = "HTTP/1.1 200 OK\r\n".to_owned();
    vec![
        says(
            "a hundred thousand headers",
            head.clone() + &"x: y\r\n".repeat(100_000) + BODY,
        )
        .not_http(),
        says(
            "a header without an end",
            head + "x: " + &"y".repeat(1 << 20),
        )
        .not_http(),
        says(
            "a status line without an end",
            "HTTP/1.1 200 ".to_owned() + &"y".repeat(1 << 20),
        )
        .not_http(),
        says("empty lines without an end", "\r\n".repeat(1 << 19)).not_http(),
    ]
}

#[tokio::test]
async fn garbage_hurts_nobody_else() {
    play_all(scripts()).await;
}
