//! Peers that say nothing, over real sockets and by the real clock: each ends at the connect budget,
//! give or take 50 ms, and its error says where the connect stood.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../crates/tollgate/tests/support/tls.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod tls;

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tollgate::tls::{Alpn, TlsOptions};
use tollgate::{Client, ClientBuilder, ErrorKind, Phase, Protocol};
use tollgate_testing::Hole;

const BUDGET: Duration = Duration::from_millis(300);

fn on_time() -> RangeInclusive<Duration> {
    let grace = Duration::from_millis(50);
    BUDGET.saturating_sub(grace)..=BUDGET + grace
}

/// Twice, since what the first meets must not spoil the second.
async fn ends_at_the_budget(builder: ClientBuilder, uri: &str, phase: Phase) {
    let client = builder.connect_timeout(BUDGET).build().unwrap();
    for _ in 0..2 {
        ends_once(&client, uri, phase).await;
    }
    let stats = client.stats(uri).unwrap();
    assert_eq!((stats.open, stats.connecting, stats.queued), (0, 0, 0));
}

async fn ends_once(client: &Client, uri: &str, phase: Phase) {
    let started = Instant::now();
    let error = client.get(uri).await.err().unwrap();
    let took = started.elapsed();
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectTimeout { phase },
        "{error:?}"
    );
    assert!(on_time().contains(&took), "{took:?}: {error:?}");
    assert!(error.is_timeout() && error.is_connect() && error.nothing_sent());
    let said = error.to_string();
    assert!(
        said.contains(&format!("in phase {}", phase.label())),
        "{said}"
    );
}

/// Accepts, says this, reads what comes and never says another word.
async fn says(words: &'static [u8]) -> tls::Running {
    tls::serve(move |mut stream: TcpStream| async move {
        stream.write_all(words).await.unwrap();
        while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
    })
    .await
}

#[tokio::test]
async fn a_black_hole_ends_at_the_connect_budget() {
    let hole = Hole::start([127, 0, 0, 1]).await;
    let uri = format!("http://{}/", hole.addr());
    ends_at_the_budget(Client::builder(), &uri, Phase::Tcp).await;
}

#[tokio::test]
async fn a_peer_that_never_answers_the_tls_hello_ends_at_the_connect_budget() {
    let silent = says(b"").await;
    let uri = format!("https://{}/", silent.addr);
    ends_at_the_budget(Client::builder(), &uri, Phase::Tls).await;
}

/// The head of a handshake record of 512 bytes, and two of them.
#[tokio::test]
async fn a_peer_that_stops_in_its_own_tls_hello_ends_at_the_connect_budget() {
    let halting = says(&[22, 3, 3, 2, 0, 2, 0]).await;
    let uri = format!("https://{}/", halting.addr);
    ends_at_the_budget(Client::builder(), &uri, Phase::Tls).await;
}

#[tokio::test]
async fn a_peer_that_accepts_and_never_begins_http2_ends_at_the_connect_budget() {
    let silent = says(b"").await;
    let uri = format!("http://{}/", silent.addr);
    let builder = Client::builder().protocol(Protocol::Http2);
    ends_at_the_budget(builder, &uri, Phase::Preface).await;
}

#[tokio::test]
async fn a_peer_that_agrees_on_http2_in_tls_and_never_begins_it_ends_at_the_connect_budget() {
    let authority = tls::Authority::new();
    let acceptor = tls::Server::new(authority.issue("localhost")).acceptor();
    let silent = tls::serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
        }
    })
    .await;
    let options = TlsOptions::new().webpki_roots(false);
    let options = options.root_pem(authority.pem()).alpn(Alpn::Http2);
    let uri = format!("https://localhost:{}/", silent.addr.port());
    ends_at_the_budget(Client::builder().tls(options), &uri, Phase::Preface).await;
}
