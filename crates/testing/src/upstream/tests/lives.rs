//! How connections and listeners begin and end.

use super::*;

#[tokio::test]
async fn max_requests_announces_close_and_closes() {
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
async fn connection_close_and_http10_end_the_connection() {
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
async fn orders_to_idle_connections_reach_busy_ones_later() {
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
async fn connections_outlive_a_listener_that_stops_and_recovers() {
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
async fn held_clock_moves_only_by_hand_over_tcp() {
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

#[tokio::test]
async fn a_half_closed_connection_still_reads() {
    let gate = Gate::new();
    let wait = gate.clone();
    let upstream = Upstream::start(move |_| {
        Reply::ok("ok")
            .before_body()
            .then(Step::Shutdown)
            .wait(&wait)
            .then(Step::ReadBody)
    })
    .await;
    let mut client = dial(&upstream).await;
    send(&mut client, "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n").await;
    assert_eq!(rest(&mut client).await.unwrap(), OK);
    gate.open();
    send(&mut client, "body").await;
    upstream.settled(|stats| stats.answered == 1).await;
    assert!(upstream.requests()[0].body_complete);
}
