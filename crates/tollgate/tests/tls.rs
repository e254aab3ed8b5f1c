//! TLS through the client, with certificates made for each test: every failure is an error of its
//! own, and none of them spoils the pool.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::tls::{Authority, Running, Server, self_signed, serve};
use support::{client_with, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tollgate::cached_dns::StaticHosts;
use tollgate::connect_timeout::ConnectTimedOut;
use tollgate::tls::{Alpn, TlsError, TlsFailure, TlsOptions, TlsVersion};
use tollgate::{Client, ErrorKind, Phase, Protocol, find};
use tollgate_testing::{Reply, Upstream};

const HOST: &str = "billing.internal";

/// A client that trusts `options` and finds every test host on loopback.
fn client(options: TlsOptions) -> Client {
    client_with(|b| {
        let here = [[127, 0, 0, 1].into()];
        b.resolver(
            StaticHosts::new()
                .host(HOST, here)
                .host("other.internal", here),
        )
        .tls(options)
        .connect_timeout(Duration::from_secs(2))
    })
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions::new().root_pem(authority.pem())
}

fn uri(server: &Running) -> String {
    format!("https://{HOST}:{}/", server.addr.port())
}

/// The call fails in this way, with a message that says what to change, and another origin of the
/// same client works at once.
async fn fails_with(client: &Client, uri: &str, failure: TlsFailure, advice: &str) {
    let error = client.get(uri).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(error.is_connect() && error.nothing_sent(), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("TLS handshake failed") && said.contains(advice),
        "{said}"
    );
    let tls = find::<TlsError>(&error).unwrap();
    assert_eq!(tls.failure(), failure, "{error:?}");
    assert!(tls.to_string().contains(advice), "{tls}");
    assert_eq!(tls.host(), HOST);

    let stats = client.stats(uri).unwrap();
    assert_eq!((stats.open, stats.connecting, stats.queued), (0, 0, 0));
    let plain = Upstream::start(|_| Reply::ok("ok")).await;
    assert_eq!(text(client.get(plain.uri("/")).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn https_works_with_an_authority_of_ones_own_and_is_kept_alive() {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST)).start().await;
    let client = client(trusting(&authority));
    let response = client.get(uri(&server)).await.unwrap();
    let timings = response.body().timings();
    assert!(timings.tls.is_some() && timings.connect.is_some() && timings.dns.is_some());
    assert_eq!(timings.remote, Some(server.addr));
    assert_eq!(text(response).await, "ok");
    let response = client.get(uri(&server)).await.unwrap();
    assert!(response.body().timings().reused);
    assert_eq!(text(response).await, "ok");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_unless_that_name_is_asked_for() {
    let authority = Authority::new();
    let server = Server::new(authority.issue("other.internal")).start().await;
    let strict = client(trusting(&authority));
    fails_with(
        &strict,
        &uri(&server),
        TlsFailure::WrongHost,
        "another host",
    )
    .await;
    let named = client(trusting(&authority).server_name("other.internal"));
    assert_eq!(text(named.get(uri(&server)).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let server = Server::new(authority.issue_expired(HOST)).start().await;
    let client = client(trusting(&authority));
    fails_with(&client, &uri(&server), TlsFailure::Expired, "expired").await;
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused() {
    let server = Server::new(self_signed(HOST)).start().await;
    let client = client(trusting(&Authority::new()));
    fails_with(
        &client,
        &uri(&server),
        TlsFailure::UnknownIssuer,
        "root_pem",
    )
    .await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let server = Server::new(Authority::new().issue(HOST)).start().await;
    let client = client(trusting(&Authority::new()));
    fails_with(
        &client,
        &uri(&server),
        TlsFailure::UnknownIssuer,
        "not trusted",
    )
    .await;
}

#[tokio::test]
async fn an_authority_made_anew_under_its_old_name_is_told_from_an_unknown_one() {
    let [old, new] = [(), ()].map(|()| Authority::named("our authority"));
    let server = Server::new(new.issue(HOST)).start().await;
    let client = client(trusting(&old));
    fails_with(
        &client,
        &uri(&server),
        TlsFailure::BadSignature,
        "made anew",
    )
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_from_a_bad_certificate() {
    let garbage = serve(|mut stream| async move {
        let _hello = stream.read(&mut [0; 1024]).await;
        let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
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
async fn a_connection_that_ends_in_the_handshake_is_told_from_garbage() {
    let closing = serve(|mut stream| async move {
        let _hello = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let client = client(trusting(&Authority::new()));
    fails_with(&client, &uri(&closing), TlsFailure::Closed, "in the middle").await;
}

#[tokio::test]
async fn a_handshake_that_stalls_ends_at_the_connect_budget_in_phase_tls() {
    let stalling = serve(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let client = client_with(|b| {
        b.tls(trusting(&Authority::new()))
            .connect_timeout(Duration::from_millis(200))
    });
    let started = Instant::now();
    let error = client
        .get(format!("https://{}/", stalling.addr))
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectTimeout { phase: Phase::Tls }
    );
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
    let stalling = serve(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let client = client_with(|b| {
        b.tls(trusting(&Authority::new()))
            .tls_timeout(Duration::from_millis(50))
    });
    let error = client
        .get(format!("https://{}/", stalling.addr))
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectTimeout { phase: Phase::Tls }
    );
    assert!(find::<ConnectTimedOut>(&error).unwrap().is_phase_limit());
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_it() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::new(theirs.issue(HOST))
        .clients_of(&ours)
        .start()
        .await;
    let identity = ours.issue("client.internal");
    let client = client(trusting(&theirs).identity_pem(identity.cert, identity.key));
    assert_eq!(text(client.get(uri(&server)).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn a_missing_client_certificate_is_a_tls_error_also_after_the_handshake() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::new(theirs.issue(HOST))
        .clients_of(&ours)
        .start()
        .await;
    let client = client(trusting(&theirs));
    let error = client.get(uri(&server)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    support::words::says_all(&error);
    assert!(!error.is_retryable());
    // By TLS 1.2, the handshake itself fails.
    assert!(find::<rustls::Error>(&error).is_some());
}

#[tokio::test]
async fn a_version_that_is_too_old_is_refused() {
    let old = serve(|mut stream| async move {
        let _hello = stream.read(&mut [0; 1024]).await;
        // A fatal alert, protocol_version: what a server that has only TLS 1.1 says.
        let _sent = stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).await;
    })
    .await;
    let client = client(trusting(&Authority::new()).min_version(TlsVersion::Tls13));
    fails_with(&client, &uri(&old), TlsFailure::Incompatible, "in common").await;
}

#[tokio::test]
async fn tls_1_2_is_spoken_unless_a_newer_version_is_the_least() {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST)).only_tls_12();
    let server = server.start().await;
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
async fn a_server_that_answers_in_tls_1_1_is_refused() {
    let old = serve(|mut stream| async move {
        let _hello = stream.read(&mut [0; 1024]).await;
        let _sent = stream.write_all(&hello_of_tls_11()).await;
        let _ended = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let client = client(trusting(&Authority::new()));
    fails_with(&client, &uri(&old), TlsFailure::Incompatible, "in common").await;
}

#[tokio::test]
async fn a_second_handshake_resumes_the_session_of_the_first() {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST)).start().await;
    let client = client(trusting(&authority));
    for resumed in 0..3 {
        assert_eq!(text(client.get(uri(&server)).await.unwrap()).await, "ok");
        assert_eq!(server.resumed(), resumed);
        client.close_idle();
    }
    assert_eq!(server.accepted(), 3);
}

type Served = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
type Bad = Box<dyn Fn(TcpStream) -> Served + Send>;

const BUDGET: Duration = Duration::from_millis(400);

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
async fn each_failure_comes_within_the_budget_and_the_next_connection_works() {
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
    let server = serve(move |stream| -> Served {
        if first.swap(false, SeqCst) {
            bad(stream)
        } else {
            Box::pin(good.clone().serve(stream))
        }
    })
    .await;
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
    assert!(
        took < BUDGET + Duration::from_millis(50),
        "{name}: {took:?}"
    );
    let response = client.get(uri(&server)).await;
    assert_eq!(text(response.unwrap()).await, "ok", "{name}");
    let stats = client.stats(&uri(&server)).unwrap();
    assert_eq!(
        (stats.open, stats.connecting, stats.queued),
        (1, 0, 0),
        "{name}"
    );
}

#[tokio::test]
async fn alpn_decides_the_protocol_and_the_connection_says_which() {
    use hyper_util::client::legacy::connect::Connection;
    use tower::{Layer, Service};
    let authority = Authority::new();
    // It offers both, h2 first.
    let server = Server::new(authority.issue("localhost")).start().await;
    let uri: http::Uri = format!("https://localhost:{}/", server.addr.port())
        .parse()
        .unwrap();
    for (alpn, h2) in [
        (Alpn::Http1, false),
        (Alpn::Http2, true),
        (Alpn::Auto, true),
    ] {
        let names =
            tollgate::cached_dns::CachedDnsLayer::new().layer(tollgate::cached_dns::Gai::new());
        let options = trusting(&authority).alpn(alpn);
        let dial = tollgate::dial::DialLayer::new().layer(names);
        let mut connector = options.layer().unwrap().layer(dial);
        let stream = connector.call(uri.clone()).await.unwrap();
        assert_eq!(stream.connected().is_negotiated_h2(), h2, "{alpn:?}");
    }
    // What the pool is not to speak, a client does not offer.
    let error = Client::builder()
        .protocol(Protocol::Http1)
        .tls(TlsOptions::new().alpn(Alpn::Auto))
        .build()
        .unwrap_err();
    assert_eq!(error.field(), "tls");
}

#[tokio::test]
async fn fifty_cold_calls_to_an_origin_that_prefers_http2_share_one_connection() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let authority = Authority::new();
    let acceptor = Server::new(authority.issue(HOST)).acceptor();
    let server = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let stream = TokioIo::new(acceptor.accept(stream).await);
            let service = hyper::service::service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(http::Response::new("ok".to_owned()))
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ended = builder.serve_connection(stream, service).await;
        }
    })
    .await;
    let client = client(trusting(&authority).alpn(Alpn::Auto));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (client, uri) = (client.clone(), uri(&server));
            tokio::spawn(async move { client.get(uri).await })
        })
        .collect();
    for call in calls {
        let response = call.await.unwrap().unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(text(response).await, "ok");
    }
    assert_eq!(server.accepted(), 1);
    let detail = client.detail(&uri(&server)).unwrap();
    assert_eq!(detail.connections[0].protocol, "h2");
}

#[cfg(feature = "platform-verifier")]
#[tokio::test]
async fn the_platforms_verifier_trusts_what_is_added_and_refuses_strangers() {
    let (ours, unknown) = (Authority::new(), Authority::new());
    let options = || trusting(&ours).platform_verifier(true);
    let server = Server::new(ours.issue(HOST)).start().await;
    let known = client(options());
    assert_eq!(text(known.get(uri(&server)).await.unwrap()).await, "ok");
    let stranger = Server::new(unknown.issue(HOST)).start().await;
    let strict = client(options());
    fails_with(
        &strict,
        &uri(&stranger),
        TlsFailure::UnknownIssuer,
        "not trusted",
    )
    .await;
}

#[tokio::test]
async fn accepting_invalid_certificates_works_and_warns_once_per_client() {
    let server = Server::new(self_signed("other.internal")).start().await;
    let log = Log::default();
    let subscriber = tracing_subscriber(&log);
    let client = tracing::subscriber::with_default(subscriber, || {
        client(TlsOptions::new().danger_accept_invalid_certs(true))
    });
    for _ in 0..3 {
        assert_eq!(text(client.get(uri(&server)).await.unwrap()).await, "ok");
    }
    assert_eq!(log.lines("danger_accept_invalid_certs"), 1);
}

#[tokio::test]
async fn http_and_https_go_through_the_same_client() {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST)).start().await;
    let plain = Upstream::start(|_| Reply::ok("plain")).await;
    let client = client(trusting(&authority));
    assert_eq!(text(client.get(uri(&server)).await.unwrap()).await, "ok");
    assert_eq!(
        text(client.get(plain.uri("/")).await.unwrap()).await,
        "plain"
    );
    assert_eq!(client.snapshot().origins.len(), 2);
}

/// Where warnings go.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self, containing: &str) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .filter(|line| line.contains(containing))
            .count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The least subscriber: one line an event.
fn tracing_subscriber(log: &Log) -> impl tracing::Subscriber + Send + Sync + 'static {
    Lines(log.clone())
}

struct Lines(Log);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message<'a>(&'a mut Vec<u8>);
        impl tracing::field::Visit for Message<'_> {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                writeln!(self.0, "{value:?}").unwrap();
            }
        }
        event.record(&mut Message(&mut self.0.0.lock().unwrap()));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
