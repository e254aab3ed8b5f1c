//! Handshakes that fail for other reasons than a certificate, and what comes after a failure.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tollgate::cached_dns::StaticHosts;
use tollgate::connect_timeout::ConnectTimedOut;
use tollgate::tls::{TlsFailure, TlsVersion};
use tollgate::{ClientBuilder, Error, ErrorKind, Phase, find};
use tollgate_testing::Listener;
use tollgate_testing::tls::{Authority, Server, self_signed};

use super::{HOST, client, fails_with, trusting, uri};
use crate::support::{client_with, text};

#[tokio::test]
async fn server_without_tls_is_reported_as_not_tls() {
    let garbage = Listener::start(|mut stream| async move {
        let _hello = stream.read(&mut [0; 1024]).await;
        let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let client = client(trusting(&Authority::new()));
    fails_with(
        &client,
        &uri(&garbage),
        TlsFailure::NotTls,
        "port and the scheme",
    )
    .await;
}

#[tokio::test]
async fn close_during_handshake_is_reported_as_closed() {
    let closing = Listener::start(|mut stream| async move {
        let _hello = stream.read(&mut [0; 1024]).await;
    });
    let client = client(trusting(&Authority::new()));
    fails_with(&client, &uri(&closing), TlsFailure::Closed, "in the middle").await;
}

/// The error of a call to a peer that accepts and says nothing.
async fn stalled(limited: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Error {
    let stalling = Listener::silent();
    let client = client_with(|b| limited(b.tls(trusting(&Authority::new()))));
    let uri = format!("https://{}/", stalling.addr());
    let error = client.get(uri).await.err().unwrap();
    let phase = Phase::Tls;
    assert_eq!(error.kind(), ErrorKind::ConnectTimeout { phase });
    error
}

#[tokio::test]
async fn stalled_handshake_times_out_in_phase_tls() {
    let started = Instant::now();
    let error = stalled(|b| b.connect_timeout(Duration::from_millis(200))).await;
    let late = find::<ConnectTimedOut>(&error).unwrap();
    assert_eq!(late.attempts().len(), 1);
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(200) && took < Duration::from_secs(2),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_tls_phase_limit_strikes_before_the_budget() {
    let error = stalled(|b| b.tls_timeout(Duration::from_millis(50))).await;
    assert!(find::<ConnectTimedOut>(&error).unwrap().is_phase_limit());
}

#[tokio::test]
async fn a_version_that_is_too_old_is_refused() {
    let old = Listener::start(|mut stream| async move {
        let _hello = stream.read(&mut [0; 1024]).await;
        // A fatal alert, protocol_version: what a server that has only TLS 1.1 says.
        let _sent = stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).await;
    });
    let client = client(trusting(&Authority::new()).min_version(TlsVersion::Tls13));
    fails_with(&client, &uri(&old), TlsFailure::Incompatible, "in common").await;
}

#[tokio::test]
async fn tls_12_is_spoken_unless_min_version_forbids() {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST)).only_tls_12();
    let server = server.start();
    let usual = client(trusting(&authority));
    assert_eq!(text(usual.get(uri(&server)).await.unwrap()).await, "ok");
    let strict = client(trusting(&authority).min_version(TlsVersion::Tls13));
    let failure = TlsFailure::Incompatible;
    fails_with(&strict, &uri(&server), failure, "in common").await;
}

/// A `ServerHello` of TLS 1.1, as a server that ignores what newer clients say of themselves sends it.
fn hello_of_tls_11() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend([0, 0, 0x2f, 0]);
    let len = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 2, 0, len + 4, 2, 0, 0, len];
    record.extend(hello);
    record
}

#[tokio::test]
async fn server_answering_with_tls_11_is_refused() {
    let old = Listener::start(|mut stream| async move {
        let _hello = stream.read(&mut [0; 1024]).await;
        let _sent = stream.write_all(&hello_of_tls_11()).await;
        let _ended = stream.read(&mut [0; 1024]).await;
    });
    let client = client(trusting(&Authority::new()));
    fails_with(&client, &uri(&old), TlsFailure::Incompatible, "in common").await;
}

type Served = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
type Bad = Box<dyn Fn(TcpStream) -> Served + Send>;
const BUDGET: Duration = Duration::from_secs(1);

fn over(server: Server) -> Bad {
    let acceptor = server.acceptor();
    Box::new(move |stream| Box::pin(acceptor.clone().serve(stream)))
}

fn saying(bytes: Vec<u8>) -> Bad {
    Box::new(move |mut stream| {
        let bytes = bytes.clone();
        Box::pin(async move {
            let _hello = stream.read(&mut [0; 1024]).await;
            let _sent = stream.write_all(&bytes).await;
            let _ended = stream.read(&mut [0; 1024]).await;
        })
    })
}

fn stalling() -> Bad {
    Box::new(|stream| {
        Box::pin(async move {
            let _held = stream;
            std::future::pending::<()>().await;
        })
    })
}

#[tokio::test]
async fn tls_failure_does_not_poison_the_next_connection() {
    let (ours, unknown) = (Authority::new(), Authority::new());
    let ask = Server::new(ours.issue(HOST)).clients_of(&unknown);
    let garbage = b"SSH-2.0-OpenSSH_9.9\r\n".to_vec();
    let cases = [
        (
            "wrong host",
            over(Server::new(ours.issue("other.internal"))),
        ),
        ("expired", over(Server::new(ours.issue_expired(HOST)))),
        ("self-signed", over(Server::new(self_signed(HOST)))),
        ("unknown CA", over(Server::new(unknown.issue(HOST)))),
        ("no client certificate", over(ask)),
        ("TLS 1.1", saying(hello_of_tls_11())),
        ("garbage", saying(garbage)),
        ("stalled", stalling()),
    ];
    for (name, bad) in cases {
        poisons_nothing(name, bad, &ours).await;
    }
}

/// The first connection is served badly, the second one well.
async fn poisons_nothing(name: &str, bad: Bad, ours: &Authority) {
    let good = Server::new(ours.issue(HOST)).acceptor();
    let first = AtomicBool::new(true);
    let server = Listener::start(move |stream| -> Served {
        if first.swap(false, SeqCst) {
            bad(stream)
        } else {
            Box::pin(good.clone().serve(stream))
        }
    });
    let client = client_with(|b| {
        b.resolver(StaticHosts::new().host(HOST, [[127, 0, 0, 1].into()]))
            .tls(trusting(ours))
            .connect_timeout(BUDGET)
    });
    let started = Instant::now();
    let error = client.get(uri(&server)).await.err().unwrap();
    let took = started.elapsed();
    let kind = if name == "stalled" {
        assert!(took >= BUDGET, "{name}: {took:?}");
        ErrorKind::ConnectTimeout { phase: Phase::Tls }
    } else {
        ErrorKind::Tls
    };
    assert_eq!(error.kind(), kind, "{name}: {error:?}");
    assert!(took < 2 * BUDGET, "{name}: {took:?}");
    let response = client.get(uri(&server)).await;
    assert_eq!(text(response.unwrap()).await, "ok", "{name}");
    let stats = client.stats(&uri(&server)).unwrap();
    assert_eq!(
        (stats.open, stats.connecting, stats.queued),
        (1, 0, 0),
        "{name}"
    );
}
