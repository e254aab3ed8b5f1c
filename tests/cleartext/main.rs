//! `https` never goes out in clear text, whichever layers are put together: a plain listener is
//! asked for over `https` with a secret in a header, and reads nothing.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod entries;
mod listener;
mod refused;
mod sent;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Empty;
use tollgate_core::error::find;
use tollgate_core::{ConnectErrorKind, NotEncrypted};
use tower::{BoxError, Service, ServiceExt};

const SECRET: &str = "Bearer hunter2";

fn secret(uri: &Uri) -> Request<Empty<Bytes>> {
    let request = Request::get(uri).header("authorization", SECRET);
    request.body(Empty::new()).unwrap()
}

/// Calls with the secret, twice, since what the first call meets must not open the way for the second.
async fn calls_fail<S, R>(service: S, uri: &Uri) -> BoxError
where
    S: Service<Request<Empty<Bytes>>, Response = R> + Clone,
    S::Error: Into<BoxError>,
{
    let mut last = None;
    for _ in 0..2 {
        let result = service.clone().oneshot(secret(uri)).await;
        last = result.err().map(Into::into);
        assert!(last.is_some(), "answered over clear text");
    }
    last.unwrap()
}

/// The error names the reason in its chain, and counts as one of TLS.
fn says_why(error: &BoxError) {
    let why = find::<NotEncrypted>(&**error).unwrap_or_else(|| panic!("no reason in {error:?}"));
    assert!(why.to_string().contains("clear text"), "{why}");
    assert_eq!(ConnectErrorKind::of(&**error), ConnectErrorKind::Tls);
}
