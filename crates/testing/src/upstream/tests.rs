use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::{Gate, hold_clock, within};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &str) {
    stream.write_all(bytes.as_bytes()).await.unwrap();
}

/// Reads exactly as many bytes as `expected` has, and compares.
async fn expect(stream: &mut (impl AsyncRead + Unpin), expected: &str) {
    let mut bytes = vec![0; expected.len()];
    let read = within(Duration::from_secs(5), stream.read_exact(&mut bytes));
    read.await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut text = String::new();
    let read = within(Duration::from_secs(5), stream.read_to_string(&mut text));
    read.await.map(|_| text)
}

async fn dial(upstream: &Upstream) -> TcpStream {
    TcpStream::connect(upstream.addr()).await.unwrap()
}

#[tokio::test]
async fn without_a_script_it_answers_again_and_again_on_one_connection() {
    let upstream = Upstream::builder().start().await;
    let mut client = dial(&upstream).await;
    for _ in 0..3 {
        send(&mut client, GET).await;
        expect(&mut client, OK).await;
    }
    let stats = upstream.settled(|stats| stats.idle == 1).await;
    assert_eq!(
        (stats.accepted, stats.live, stats.requests, stats.answered),
        (1, 1, 3, 3)
    );
    drop(client);
    let stats = upstream.settled(|stats| stats.live == 0).await;
    assert_eq!((stats.peak_live, stats.idle, stats.malformed), (1, 0, 0));
}

#[tokio::test]
async fn the_log_tells_connection_place_arrival_and_body() {
    let upstream = Upstream::start(|_| Reply::echo()).await;
    let mut one = dial(&upstream).await;
    send(
        &mut one,
        "POST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
    )
    .await;
    expect(
        &mut one,
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    )
    .await;
    let mut two = dial(&upstream).await;
    send(
        &mut two,
        "PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    expect(&mut two, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc").await;
    send(&mut one, GET).await;
    expect(&mut one, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;

    let log: Vec<_> = upstream
        .requests()
        .into_iter()
        .map(|r| {
            (
                r.connection,
                r.nth,
                r.arrival,
                r.method,
                r.target,
                r.body_len,
                r.body_complete,
            )
        })
        .collect();
    assert_eq!(
        log,
        [
            (0, 0, 0, "POST".into(), "/a".into(), 5, true),
            (1, 0, 1, "PUT".into(), "/b".into(), 3, true),
            (0, 1, 2, "GET".into(), "/".into(), 0, true),
        ]
    );
    assert_eq!(upstream.requests()[2].header("host"), Some("x"));
}

#[tokio::test]
async fn half_a_body_then_a_reset_is_an_error_and_a_close_is_an_end() {
    let gate = Gate::new();
    let wait = gate.clone();
    let upstream = Upstream::start(move |request| {
        let half = Reply::head(200)
            .header("content-length", "10")
            .body("hello")
            .wait(&wait);
        if request.connection == 0 {
            half.reset()
        } else {
            half.close()
        }
    })
    .await;
    let (mut reset, mut close) = (dial(&upstream).await, dial(&upstream).await);
    for client in [&mut reset, &mut close] {
        send(client, GET).await;
        expect(client, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    }
    gate.reached(2).await;
    gate.open();
    let outcomes = [rest(&mut reset).await, rest(&mut close).await];
    assert_eq!(
        outcomes[0].as_ref().unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
    assert_eq!(outcomes[1].as_ref().unwrap(), "");
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn a_held_connection_ends_when_the_peer_leaves() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let mut client = dial(&upstream).await;
    send(&mut client, GET).await;
    upstream.settled(|stats| stats.requests == 1).await;
    drop(client);
    let stats = upstream.settled(|stats| stats.live == 0).await;
    assert_eq!(stats.answered, 0);
}

#[tokio::test]
async fn connections_can_be_closed_reset_or_talked_at_on_accept() {
    let upstream = Upstream::builder()
        .on_accept(|number| match number {
            0 => Reply::nothing().reset(),
            1 => Reply::nothing().close(),
            2 => Reply::raw("HTTP/1.1 408 Request Timeout\r\n\r\n"),
            _ => Reply::nothing(),
        })
        .start()
        .await;
    let mut client = dial(&upstream).await;
    let error = rest(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(rest(&mut dial(&upstream).await).await.unwrap(), "");
    let mut talker = dial(&upstream).await;
    expect(&mut talker, "HTTP/1.1 408 Request Timeout\r\n\r\n").await;
    send(&mut talker, GET).await;
    expect(&mut talker, OK).await;
}

#[tokio::test]
async fn a_reply_before_the_body_does_not_wait_for_it_and_reads_it_afterwards() {
    let upstream = Upstream::start(|_| Reply::respond(413, "big").before_body()).await;
    let mut client = dial(&upstream).await;
    for nth in 0..2 {
        send(&mut client, "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n").await;
        expect(
            &mut client,
            "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig",
        )
        .await;
        assert!(!upstream.requests()[nth].body_complete);
        send(&mut client, "body").await;
    }
    upstream.settled(|stats| stats.idle == 1).await;
    assert!(
        upstream
            .requests()
            .iter()
            .all(|request| request.body_complete)
    );
}

#[tokio::test]
async fn chunks_stream_through_gates_and_a_head_has_no_body() {
    let gate = Gate::new();
    let wait = gate.clone();
    let upstream = Upstream::start(move |_| {
        Reply::chunked()
            .chunk("ab")
            .wait(&wait)
            .chunk("c")
            .end_chunks()
    })
    .await;
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = dial(&upstream).await;
    send(&mut client, GET).await;
    expect(&mut client, &format!("{head}2\r\nab\r\n")).await;
    gate.open();
    expect(&mut client, "1\r\nc\r\n0\r\n\r\n").await;
    send(&mut client, "HEAD / HTTP/1.1\r\n\r\n").await;
    expect(&mut client, head).await;
    upstream.settled(|stats| stats.idle == 1).await;
}

#[tokio::test]
async fn the_last_request_of_a_connection_is_announced_and_the_connection_closed() {
    let upstream = Upstream::builder().max_requests(2).start().await;
    let mut client = dial(&upstream).await;
    send(&mut client, GET).await;
    expect(&mut client, OK).await;
    send(&mut client, GET).await;
    let last = rest(&mut client).await.unwrap();
    assert_eq!(
        last,
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    );
}

#[tokio::test]
async fn a_peer_that_says_close_and_one_of_http_1_0_are_let_go() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/old" => Reply::http10("old"),
        _ => Reply::ok("ok"),
    })
    .await;
    for (request, answer) in [
        ("GET / HTTP/1.1\r\nconnection: close\r\n\r\n", OK),
        ("GET / HTTP/1.0\r\n\r\n", OK),
        ("GET /old HTTP/1.1\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nold"),
    ] {
        let mut client = dial(&upstream).await;
        send(&mut client, request).await;
        assert_eq!(rest(&mut client).await.unwrap(), answer);
    }
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn after_an_upgrade_every_byte_comes_back() {
    let upstream = Upstream::start(|_| Reply::upgrade("echo")).await;
    let mut client = dial(&upstream).await;
    send(&mut client, &format!("{GET}early")).await;
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    expect(&mut client, &format!("{head}early")).await;
    send(&mut client, "late").await;
    expect(&mut client, "late").await;
    drop(client);
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn idle_connections_obey_orders_and_busy_ones_once_they_are_idle() {
    let gate = Gate::new();
    let wait = gate.clone();
    let upstream = Upstream::start(move |request| match request.target.as_str() {
        "/slow" => Reply::ok("ok").when(&wait),
        _ => Reply::ok("ok"),
    })
    .await;
    let (mut idle, mut busy) = (dial(&upstream).await, dial(&upstream).await);
    send(&mut idle, GET).await;
    expect(&mut idle, OK).await;
    send(&mut busy, "GET /slow HTTP/1.1\r\n\r\n").await;
    gate.reached(1).await;
    upstream.write_idle("evil");
    expect(&mut idle, "evil").await;
    upstream.close_idle();
    assert_eq!(rest(&mut idle).await.unwrap(), "");
    assert_eq!(gate.waiters(), 1);
    gate.open();
    assert_eq!(rest(&mut busy).await.unwrap(), format!("{OK}evil"));
}

#[tokio::test]
async fn a_reset_of_all_reaches_the_busy_too() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let mut client = dial(&upstream).await;
    send(&mut client, GET).await;
    upstream.settled(|stats| stats.requests == 1).await;
    upstream.reset_all();
    let error = rest(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn a_listener_can_die_and_recover_while_connections_live_on() {
    let mut upstream = Upstream::builder().start().await;
    let mut client = dial(&upstream).await;
    upstream.settled(|stats| stats.live == 1).await;
    upstream.stop_listening().await;
    let refused = TcpStream::connect(upstream.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    send(&mut client, GET).await;
    expect(&mut client, OK).await;
    let addr = upstream.addr();
    upstream.listen();
    assert_eq!(upstream.addr(), addr);
    send(&mut dial(&upstream).await, GET).await;
    upstream.settled(|stats| stats.accepted == 2).await;
}

#[tokio::test]
async fn other_loopback_addresses_can_be_bound() {
    for ip in ["127.0.0.3", "::1"] {
        let ip: std::net::IpAddr = ip.parse().unwrap();
        let upstream = Upstream::builder().bind((ip, 0)).start().await;
        assert_eq!(upstream.addr().ip(), ip);
        let mut client = dial(&upstream).await;
        send(&mut client, GET).await;
        expect(&mut client, OK).await;
    }
}

#[tokio::test]
async fn what_is_no_request_is_counted_and_cut() {
    let upstream = Upstream::builder().start().await;
    let mut client = dial(&upstream).await;
    send(&mut client, "hello there\r\n\r\n").await;
    assert_eq!(rest(&mut client).await.unwrap(), "");
    assert_eq!(upstream.stats().malformed, 1);
}

#[tokio::test]
async fn dropping_it_closes_listener_and_connections() {
    let upstream = Upstream::builder().start().await;
    let addr = upstream.addr();
    let mut client = dial(&upstream).await;
    send(&mut client, GET).await;
    expect(&mut client, OK).await;
    drop(upstream);
    assert_eq!(rest(&mut client).await.unwrap(), "");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn in_memory_it_lives_under_a_paused_clock() {
    let upstream = Upstream::builder()
        .reply(|_| Reply::ok("ok").after(Duration::from_secs(2)))
        .idle_timeout(Duration::from_secs(30))
        .start()
        .await;
    let start = tokio::time::Instant::now();
    let mut client = upstream.connect();
    send(&mut client, GET).await;
    expect(&mut client, OK).await;
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert_eq!(upstream.stats().idle, 1);
    let mut end = String::new();
    client.read_to_string(&mut end).await.unwrap();
    assert_eq!((end.as_str(), start.elapsed().as_secs()), ("", 32));
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test(start_paused = true)]
async fn over_tcp_a_paused_clock_is_held_and_moved_by_hand() {
    let _still = hold_clock();
    let upstream = Upstream::builder()
        .idle_timeout(Duration::from_secs(30))
        .start()
        .await;
    let mut client = dial(&upstream).await;
    send(&mut client, GET).await;
    let mut answer = vec![0; OK.len()];
    client.read_exact(&mut answer).await.unwrap();
    upstream.settled(|stats| stats.idle == 1).await;
    tokio::time::advance(Duration::from_millis(29_999)).await;
    assert_eq!(upstream.live(), 1);
    tokio::time::advance(Duration::from_millis(2)).await;
    upstream.settled(|stats| stats.live == 0).await;
}
