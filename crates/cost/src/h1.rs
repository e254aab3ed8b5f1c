//! HTTP/1: the upstream, and bare hyper.

use std::io::Write;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::clients::{read, runtime};

/// Answers every request with 256 bytes.
pub(crate) fn serve() {
    // An origin server must send a date (RFC 9110 section 6.6.1), and the others are as common.
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 256\r\ncontent-type: text/plain\r\n\
                date: Tue, 24 Nov 2026 04:00:00 GMT\r\n\r\n";
    let answer: &'static str = format!("{head}{}", "x".repeat(256)).leak();
    runtime().block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        writeln!(
            std::io::stdout(),
            "{}",
            listener.local_addr().expect("is bound")
        )
        .ok();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).ok();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    seen.extend_from_slice(&buffer[..n]);
                    while let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                        seen.drain(..end + 4);
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}

pub(crate) async fn bare(addr: &str, requests: u32) {
    let stream = TcpStream::connect(addr).await.expect("connects");
    stream.set_nodelay(true).expect("is TCP");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("needs no bytes");
    tokio::spawn(connection);
    let host = http::HeaderValue::from_str(addr).expect("is ASCII");
    let uri = Uri::from_static("/fast");
    for _ in 0..requests {
        sender.ready().await.expect("stays open");
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri.clone();
        request
            .headers_mut()
            .insert(http::header::HOST, host.clone());
        let response = sender.send_request(request).await.expect("is answered");
        read(response.into_body()).await;
    }
}
