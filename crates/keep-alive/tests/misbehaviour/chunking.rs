//! Chunks that are none, and what may hide between them.

use tollgate_testing::Reply;

use crate::play::play_all;
use crate::script::{Script, does, dripped, says};

const END: &str = "0\r\n\r\n";

fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}")
}

pub(crate) fn scripts() -> Vec<Script> {
    let mut all = sizes();
    all.extend(ends());
    all.extend(floods());
    all.extend(unusual());
    all
}

fn sizes() -> Vec<Script> {
    let size = |size: &str| chunked(&format!("{size}\r\nbody\r\n{END}"));
    vec![
        says("a chunk size that is none", size("zz")).breaks(),
        says("an empty chunk size", size("")).breaks(),
        says("a negative chunk size", size("-4")).breaks(),
        says("a chunk size with a plus", size("+4")).breaks(),
        says("a chunk size with a prefix", size("0x4")).breaks(),
        says("a chunk size with an underscore", size("0_4")).breaks(),
        says("a chunk size with a NUL", size("4\0")).breaks(),
        says("a chunk size beyond 64 bits", size("10000000000000004")).breaks(),
        says("seventeen digits of chunk size", size("fffffffffffffffff")).breaks(),
        does(
            "the largest chunk and four bytes",
            Reply::raw(size("fffffffffffffff0")).close(),
        )
        .breaks(),
        does(
            "a chunk longer than what comes",
            Reply::raw(size("40")).close(),
        )
        .breaks(),
    ]
}

fn ends() -> Vec<Script> {
    vec![
        says(
            "a chunk without its line end",
            chunked("4\r\nbodyX\r\n0\r\n\r\n"),
        )
        .breaks(),
        says(
            "a chunk shorter than its size",
            chunked("5\r\nbody\r\n0\r\n\r\n"),
        )
        .breaks(),
        says(
            "a size line that ends in CR alone",
            chunked("4\rbody\r\n0\r\n\r\n"),
        )
        .breaks(),
        does(
            "no last chunk",
            Reply::raw(chunked("4\r\nbody\r\n")).close(),
        )
        .breaks(),
        does(
            "a last chunk without its end",
            Reply::raw(chunked("4\r\nbody\r\n0\r\n")).close(),
        )
        .breaks(),
        says(
            "a last chunk whose end never comes",
            chunked("4\r\nbody\r\n0\r\n"),
        )
        .cut_off(),
        // Its status line is taken for a trailer, which it is none.
        says(
            "an answer in the place of the trailers",
            chunked("4\r\nbody\r\n0\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
        )
        .breaks(),
        says(
            "chunks behind the last chunk",
            chunked("4\r\nbody\r\n0\r\n\r\n4\r\nevil\r\n0\r\n\r\n"),
        )
        .answers("body"),
        says(
            "a trailer that is none",
            chunked("4\r\nbody\r\n0\r\nnone\r\n\r\n"),
        )
        .breaks(),
    ]
}

fn floods() -> Vec<Script> {
    let extension = format!("4;x={}\r\nbody\r\n{END}", "y".repeat(100_000));
    let extensions = "1;x=0123456789012345678901234567890123456789\r\ny\r\n".repeat(1000) + END;
    let trailer = format!("4\r\nbody\r\n0\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let trailers = "4\r\nbody\r\n0\r\n".to_owned() + &"x: y\r\n".repeat(10_000) + "\r\n";
    vec![
        says("one endless chunk extension", chunked(&extension)).breaks(),
        says("a flood of chunk extensions", chunked(&extensions)).breaks(),
        says("one endless trailer", chunked(&trailer)).breaks(),
        says("a flood of trailers", chunked(&trailers)).breaks(),
        does(
            "a chunk size that never ends",
            Reply::raw(chunked(&"0".repeat(100_000))).close(),
        )
        .breaks(),
    ]
}

/// What looks odd and is right.
fn unusual() -> Vec<Script> {
    let with_extension = chunked("4;name=\"value\"\r\nbody\r\n0;last\r\n\r\n");
    vec![
        says("a chunk with an extension", with_extension)
            .answers("body")
            .kept(),
        says(
            "chunks with trailers",
            chunked("4\r\nbody\r\n0\r\nx: y\r\nz: w\r\n\r\n"),
        )
        .answers("body")
        .kept(),
        says(
            "a size with zeros in front",
            chunked("0004\r\nbody\r\n000\r\n\r\n"),
        )
        .answers("body")
        .kept(),
        says(
            "a size with a space behind",
            chunked("4 \r\nbody\r\n0\r\n\r\n"),
        )
        .answers("body")
        .kept(),
        does(
            "chunks byte by byte",
            dripped(&chunked("2;a=b\r\nbo\r\n2\r\ndy\r\n0\r\nx: y\r\n\r\n")),
        )
        .answers("body")
        .kept(),
        does(
            "a bad chunk byte by byte",
            dripped(&chunked("2\r\nbo\r\nzz\r\n")),
        )
        .breaks(),
    ]
}

#[tokio::test]
async fn wrong_chunks_hurt_nobody_else() {
    play_all(scripts()).await;
}
