//! Peers that say nothing, over real sockets and by the real clock: each ends at the connect budget,
//! give or take 50 ms, and its error says where the connect stood.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tollgate::tls::{Alpn, TlsOptions};
use tollgate::{Client, ClientBuilder, ErrorKind, Phase, Protocol};
use tollgate_testing::tls::{Authority, Server};
use tollgate_testing::{Hole, Listener};

const BUDGET: Duration = Duration::from_millis(300);

fn on_time() -> RangeInclusive<Duration> {
    let grace = Duration::from_millis(50);
    BUDGET.saturating_sub(grace)..=BUDGET + grace
}

/// Twice, since what the first meets must not spoil the second.
async fn ends_at_the_budget(builder: ClientBuilder, uri: &str, phase: Phase) {
    let client = builder.connect_timeout(BUDGET).build().unwrap();
    for _ in 0..2 {
        // A machine under load may be late, but not each of five times.
        let mut tries = 5;
        while !ends_once(&client, uri, phase).await {
            tries -= 1;
            assert!(tries > 0, "late each time");
        }
    }
    let stats = client.stats(uri).unwrap();
    assert_eq!((stats.open, stats.connecting, stats.queued), (0, 0, 0));
}

/// Returns true if it did within 50 ms of the budget, and not later.
async fn ends_once(client: &Client, uri: &str, phase: Phase) -> bool {
    let started = Instant::now();
    let error = client.get(uri).await.err().unwrap();
    let took = started.elapsed();
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectTimeout { phase },
        "{error:?}"
    );
    assert!(took >= *on_time().start(), "{took:?}: {error:?}");
    assert!(error.is_timeout() && error.is_connect() && error.nothing_sent());
    let said = error.to_string();
    assert!(
        said.contains(&format!("in phase {}", phase.label())),
        "{said}"
    );
    on_time().contains(&took)
}

/// Accepts, says this, reads what comes and never says another word.
fn says(words: &'static [u8]) -> Listener {
    Listener::start(move |mut stream: TcpStream| async move {
        stream.write_all(words).await.unwrap();
        while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
    })
}

#[tokio::test]
async fn a_black_hole_ends_at_the_connect_budget() {
    let hole = Hole::start([127, 0, 0, 1]).await;
    let uri = format!("http://{}/", hole.addr());
    ends_at_the_budget(Client::builder(), &uri, Phase::Tcp).await;
}

#[tokio::test]
async fn silent_tls_peer_ends_at_connect_budget() {
    let silent = says(b"");
    let uri = format!("https://{}/", silent.addr());
    ends_at_the_budget(Client::builder(), &uri, Phase::Tls).await;
}

/// The head of a handshake record of 512 bytes, and two of them.
#[tokio::test]
async fn stalled_tls_hello_ends_at_connect_budget() {
    let halting = says(&[22, 3, 3, 2, 0, 2, 0]);
    let uri = format!("https://{}/", halting.addr());
    ends_at_the_budget(Client::builder(), &uri, Phase::Tls).await;
}

#[tokio::test]
async fn a_missing_http2_preface_ends_at_the_budget() {
    let silent = says(b"");
    let uri = format!("http://{}/", silent.addr());
    let builder = Client::builder().protocol(Protocol::Http2);
    ends_at_the_budget(builder, &uri, Phase::Preface).await;
}

#[tokio::test]
async fn missing_http2_preface_ends_at_connect_budget() {
    let authority = Authority::new();
    let server = Server::new(authority.issue("localhost"));
    let silent = server.serving(|mut stream| async move {
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
    });
    let options = TlsOptions::new().webpki_roots(false);
    let options = options.root_pem(authority.pem()).alpn(Alpn::Http2);
    let uri = format!("https://localhost:{}/", silent.addr().port());
    ends_at_the_budget(Client::builder().tls(options), &uri, Phase::Preface).await;
}
