//! Until when a request holds its place.

use http_body::Body;

use crate::body::PoolLimitBody;
use crate::waiter::{Exchange, PoolLimitPermit};

/// The end of a request's place: [`BodyEnd`] or [`Head`].
///
/// Implement `PermitUntil<YourResponse>` for [`BodyEnd`] to limit a service whose response is
/// neither an [`http::Response`] nor reqwest's: put the permit where it lives as long as the
/// exchange.
pub trait PermitUntil<R> {
    /// The response that the caller gets.
    type Response;

    /// Ties `permit` to `response`, or drops it.
    fn hold(response: R, permit: PoolLimitPermit) -> Self::Response;
}

/// The place is free again when the response body has ended, failed or been dropped. The default.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BodyEnd;

/// The place is free again when the response's head has arrived, as with tower's
/// `ConcurrencyLimit`. Works with every response type and keeps it as it is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head;

impl<R> PermitUntil<R> for Head {
    type Response = R;

    fn hold(response: R, mut permit: PoolLimitPermit) -> R {
        permit.set(Exchange::Whole);
        response
    }
}

impl<B: Body> PermitUntil<http::Response<B>> for BodyEnd {
    type Response = http::Response<PoolLimitBody<B>>;

    fn hold(response: http::Response<B>, permit: PoolLimitPermit) -> Self::Response {
        response.map(|body| PoolLimitBody::new(body, permit))
    }
}

#[cfg(feature = "reqwest")]
impl PermitUntil<reqwest::Response> for BodyEnd {
    type Response = reqwest::Response;

    fn hold(response: reqwest::Response, permit: PoolLimitPermit) -> reqwest::Response {
        use reqwest::ResponseBuilderExt;

        // The way through `http::Response` loses the URL unless it goes along as an extension.
        let mut carrier = http::response::Builder::new().url(response.url().clone());
        let (mut parts, body) = http::Response::from(response).into_parts();
        if let Some(url) = carrier.extensions_mut() {
            parts.extensions.extend(std::mem::take(url));
        }
        let body = reqwest::Body::wrap(PoolLimitBody::new(body, permit));
        http::Response::from_parts(parts, body).into()
    }
}
