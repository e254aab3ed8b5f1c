//! One exchange, and what came of it.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tollgate_core::BoxError;
use tollgate_keep_alive::{KeepAlive, KeepAliveError};
use tower::ServiceExt;

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(u16, Bytes),
    Failed(KeepAliveError),
    Broke,
    CutOff,
}

/// A whole exchange, with a deadline of the caller's.
pub(crate) async fn call(
    pool: KeepAlive,
    request: Request<Full<Bytes>>,
    limit: Duration,
) -> Outcome {
    call_until(pool, request, tokio::time::sleep(limit)).await
}

pub(crate) async fn call_until(
    pool: KeepAlive,
    request: Request<Full<Bytes>>,
    deadline: impl Future<Output = ()>,
) -> Outcome {
    let exchange = async {
        let response = match pool.oneshot(request).await {
            Ok(response) => response,
            Err(error) => return Ok(Outcome::Failed(error)),
        };
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, BoxError>(Outcome::Answer(status, body))
    };
    tokio::select! {
        biased;
        outcome = exchange => outcome.unwrap_or(Outcome::Broke),
        () = deadline => Outcome::CutOff,
    }
}
