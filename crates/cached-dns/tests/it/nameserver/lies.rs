//! A server that lies.

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use tollgate_testing::dns::Query;

use super::*;
use crate::common::*;

/// Bytes that look random and are the same each time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| byte()).collect()
}

/// Every name its own kind of lie.
fn lie(query: &Query) -> Answer {
    match query.name.as_str() {
        "loop.test" => Answer::cname_loop(),
        "id.test" => both(&["127.0.0.1"]).wrong_id(),
        "question.test" => both(&["127.0.0.1"]).wrong_question(),
        "huge.test" if query.tcp => {
            let many = (0..2_500_u32).map(|n| IpAddr::from((0x7f00_0000 | n).to_be_bytes()));
            Answer::addrs(many)
        }
        "huge.test" => both(&[]).truncated(),
        "noise64k.test" => Answer::garbage(noise(7, if query.tcp { 65_535 } else { 1_400 })),
        "short.test" => Answer::garbage(query.id.to_be_bytes().to_vec()),
        _ => {
            // The id is right, what follows is not.
            let len = 2 + query.name.len() * 13 % 90;
            let mut bytes = noise(query.id.into(), len.max(12));
            bytes[..2].copy_from_slice(&query.id.to_be_bytes());
            bytes[2] |= 0x80;
            Answer::garbage(bytes)
        }
    }
}

// A name server that lies.
#[tokio::test]
async fn a_lying_server_is_neither_believed_nor_awaited() {
    let server = DnsServer::start().await;
    server.script_all(lie);
    let dns = cached(hickory([&server]).timeout(millis(200)));
    let mut names: Vec<String> = (0..40)
        .map(|n| format!("{}.noise.test", "n".repeat(n + 1)))
        .collect();
    for lie in ["loop", "id", "question", "noise64k", "short"] {
        names.push(format!("{lie}.test"));
    }
    let asked = Instant::now();
    let answers = names
        .iter()
        .map(|name| timeout(secs(6), lookup(&dns, name)));
    for (name, answer) in names.iter().zip(join_all(answers).await) {
        let answer = answer.unwrap_or_else(|_| panic!("{name} hangs"));
        assert!(answer.is_err(), "{name} was believed: {answer:?}");
    }
    assert!(asked.elapsed() < secs(6), "{:?}", asked.elapsed());
    // What is true but far too much is cut.
    assert_eq!(lookup(&dns, "huge.test").await.unwrap().len(), 256);
    assert_eq!(dns.handle().stats().in_flight, 0);
}
