//! Requests, replies and the log.

use super::*;

#[tokio::test]
async fn upstream_without_script_keeps_answering_one_connection() {
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
async fn reset_breaks_a_body_and_close_ends_it() {
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
async fn on_accept_can_reset_close_or_write_first() {
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
async fn an_early_reply_reads_the_body_afterwards() {
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
async fn chunks_wait_at_gates_and_head_has_none() {
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
async fn interim_response_can_precede_the_request_body() {
    let upstream = Upstream::start(|_| {
        Reply::raw("HTTP/1.1 100 Continue\r\n\r\n")
            .before_body()
            .then(Step::Echo)
    })
    .await;
    let mut client = dial(&upstream).await;
    send(&mut client, "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n").await;
    send(&mut client, "bo").await;
    send(&mut client, "dy").await;
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";
    expect(&mut client, answer).await;
}
