//! No span and no event tells what is nobody's business.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tollgate_testing::{Reply, Upstream};
use tower::{Layer, ServiceExt};

use crate::listener::{Spans, told};
use crate::support::cap;

#[test]
fn no_span_tells_a_secret() {
    let spans = Spans::default();
    spans.of(async {
        let upstream = Upstream::start(|request| match request.arrival {
            0 => Reply::ok("hunter2").header("set-cookie", "hunter2"),
            _ => Reply::raw("hunter2 hunter2\r\n\r\n"),
        })
        .await;
        let pool = cap(1).layer(told(&upstream));
        for _ in 0..2 {
            let uri = format!(
                "http://user:hunter2@{}/hunter2?token=hunter2",
                upstream.addr()
            );
            let request = Request::get(uri)
                .header("authorization", "hunter2")
                .body(Empty::<Bytes>::new());
            drop(pool.clone().oneshot(request.unwrap()).await);
        }
    });
    let told = format!("{:?}", spans.attempts());
    assert!(
        spans.attempts().len() >= 2 && !told.contains("hunter2"),
        "{told}"
    );
}
