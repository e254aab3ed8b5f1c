//! Bodies that are not read, and the window that all streams of a connection share.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tollgate_keep_alive::Protocol;
use tollgate_testing::{Listener, http2};

use super::*;

const LARGE: usize = 4 * 1024 * 1024;

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let size = if request.uri().path() == "/large" {
        LARGE
    } else {
        2
    };
    Ok(Response::new(Full::new(Bytes::from(vec![b'x'; size]))))
}

/// Holds `unread` large bodies, then makes 20 small calls; how many connections that took.
async fn small_calls_beside(unread: usize, options: Http2Options, full: bool) -> usize {
    // It heeds flow control.
    let server = Listener::start(|stream| http2::serve(stream, service_fn(answer)));
    let addr = server.addr();
    let layer = cap(8).protocol(Protocol::Http2).http2(options);
    let pool = layer.layer(Connector::tcp(addr));
    let uri = |path| -> Uri { format!("http://{addr}{path}").parse().unwrap() };
    let mut held = Vec::new();
    for _ in 0..unread {
        held.push(support::get(&pool, &uri("/large")).await.unwrap());
    }
    let origin: Origin = uri("/").to_string().parse().unwrap();
    let takes_none = || pool.detail(&origin).unwrap().connections[0].max_streams == 0;
    if full {
        until(takes_none).await;
    }
    for _ in 0..20 {
        let small = within(support::LONG, fetch(&pool, &uri("/"))).await;
        assert_eq!(small.unwrap().len(), 2);
    }
    let opened = pool.stats(&origin).unwrap().open;
    for body in held {
        let body = body.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), LARGE, "and can be read yet");
    }
    opened
}

#[tokio::test]
async fn unread_bodies_hold_up_no_other_stream() {
    assert_eq!(small_calls_beside(20, Http2Options::new(), false).await, 1);
}

#[tokio::test]
async fn an_exhausted_connection_window_opens_another_connection() {
    let options = Http2Options::new().connection_window(1024 * 1024);
    let opened = small_calls_beside(1, options, true).await;
    assert!((2..=3).contains(&opened), "{opened}");
}

/// A window that no frame has a number for once failed each exchange.
#[tokio::test]
async fn windows_are_clamped_to_http2_bounds() {
    for bytes in [0, u32::MAX] {
        let options = Http2Options::new().stream_window(bytes);
        assert_eq!(small_calls_beside(0, options, false).await, 1);
    }
    let options = Http2Options::new().connection_window(u32::MAX);
    assert_eq!(small_calls_beside(0, options, false).await, 1);
}
