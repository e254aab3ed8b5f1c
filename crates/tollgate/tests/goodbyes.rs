//! How TLS connections end, seen from both sides.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use support::{client_with, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_rustls::server::TlsStream;
use tollgate::cached_dns::StaticHosts;
use tollgate::tls::TlsOptions;
use tollgate::{Client, Protocol};
use tollgate_testing::tls::{Authority, Server};
use tollgate_testing::within;

const HOST: &str = "billing.internal";
const LONG: Duration = Duration::from_secs(20);

fn client(authority: &Authority) -> Client {
    let tls = TlsOptions::new().root_pem(authority.pem());
    let hosts = StaticHosts::new().host(HOST, [[127, 0, 0, 1].into()]);
    client_with(|b| b.resolver(hosts).tls(tls))
}

/// A client that waits for the server's FIN with its only thread blocked: what the reactor cannot have
/// seen, the kernel knows.
#[test]
fn no_post_on_a_tls_connection_closed_unseen() {
    let authority = Authority::new();
    let acceptor = Server::new(authority.issue(HOST)).acceptor();
    let (started, addr) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let (ended, has_ended) = mpsc::channel();
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            started.send(listener.local_addr().unwrap()).unwrap();
            for number in 0..2 {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.clone().accept(stream).await;
                let mut head = [0; 1024];
                assert!(stream.read(&mut head).await.unwrap() > 0);
                let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(ok).await.unwrap();
                stream.flush().await.unwrap();
                if number == 0 {
                    ends.recv().unwrap();
                    stream.shutdown().await.unwrap();
                    ended.send(()).unwrap();
                }
            }
        });
    });
    let uri = format!("https://{HOST}:{}/", addr.recv().unwrap().port());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let client = client(&authority);
        assert_eq!(text(client.get(&*uri).await.unwrap()).await, "ok");
        end.send(()).unwrap();
        has_ended.recv().unwrap();
        let post = Request::post(&*uri).body(Full::<bytes::Bytes>::from("pay"));
        let response = tower::ServiceExt::oneshot(client, post.unwrap());
        let response = within(LONG, response).await.unwrap();
        assert!(!response.body().timings().reused);
    });
    server.join().unwrap();
}

/// Reads to the end of the stream: without a `close_notify` that is an error (RFC 8446 section 6.1).
async fn serve_to_the_end(
    mut stream: TlsStream<TcpStream>,
    ends: UnboundedSender<std::io::Result<usize>>,
) {
    let mut head = [0; 1024];
    loop {
        let read = stream.read(&mut head).await;
        if !matches!(read, Ok(1..)) {
            ends.send(read).unwrap();
            return;
        }
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(ok).await.unwrap();
        stream.flush().await.unwrap();
    }
}

#[tokio::test]
async fn an_idle_tls_connection_ends_with_close_notify() {
    let authority = Authority::new();
    let (ends, mut ended) = unbounded_channel();
    let server = Server::new(authority.issue(HOST))
        .serving(move |stream| serve_to_the_end(stream, ends.clone()));
    let uri = format!("https://{HOST}:{}/", server.addr().port());
    let client = client(&authority);
    assert_eq!(text(client.get(&*uri).await.unwrap()).await, "ok");
    drop(client);
    let end = within(LONG, ended.recv()).await.unwrap();
    assert_eq!(end.unwrap(), 0, "the server sees a clean end");
}

#[tokio::test]
async fn cut_tls_connection_ends_with_close_notify() {
    let authority = Authority::new();
    let (ends, mut ended) = unbounded_channel();
    let server = Server::new(authority.issue(HOST)).serving(move |mut stream| {
        let ends = ends.clone();
        async move {
            let mut head = [0; 1024];
            // The request, which it never answers, and the end.
            for _ in 0..2 {
                ends.send(stream.read(&mut head).await).unwrap();
            }
        }
    });
    let uri = format!("https://{HOST}:{}/", server.addr().port());
    let client = client(&authority);
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.get(&*uri).await.map(drop) });
    assert!(within(LONG, ended.recv()).await.unwrap().unwrap() > 0);
    client.close();
    let end = within(LONG, ended.recv()).await.unwrap();
    assert_eq!(end.unwrap(), 0, "the server sees a clean end");
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn closed_http2_connection_sends_goaway_and_close_notify() {
    /// Empty SETTINGS, and the acknowledgement of the client's.
    const SETTINGS: [u8; 18] = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
    /// The head of a GOAWAY without a word.
    const GOAWAY: [u8; 9] = [0, 0, 8, 7, 0, 0, 0, 0, 0];
    let authority = Authority::new();
    let (ends, mut ended) = unbounded_channel();
    let server = Server::new(authority.issue(HOST)).serving(move |mut stream| {
        let ends = ends.clone();
        async move {
            stream.write_all(&SETTINGS).await.unwrap();
            stream.flush().await.unwrap();
            let mut all = Vec::new();
            let end = stream.read_to_end(&mut all).await;
            ends.send(end.map(|_| all)).unwrap();
        }
    });
    let tls = TlsOptions::new().root_pem(authority.pem());
    let hosts = StaticHosts::new().host(HOST, [[127, 0, 0, 1].into()]);
    let client = client_with(|b| b.resolver(hosts).tls(tls).protocol(Protocol::Http2));
    let uri = format!("https://{HOST}:{}/", server.addr().port());
    let (caller, to) = (client.clone(), uri.clone());
    let call = tokio::spawn(async move { caller.get(to).await.map(drop) });
    let in_flight = || client.stats(&uri).is_some_and(|stats| stats.in_flight == 1);
    while !in_flight() {
        tokio::task::yield_now().await;
    }
    client.close();
    let all = within(LONG, ended.recv()).await.unwrap();
    let all = all.expect("the server sees a clean end");
    assert!(all.windows(9).any(|head| head == GOAWAY));
    assert!(call.await.unwrap().is_err());
}
