//! Until when a request is in flight.

use http::Response;
use http_body::Body;

use crate::body::QueueMetricsBody;
use crate::service_series::{InFlight, Outcome};

/// The end of a request whose response is an `R`: [`BodyEnd`] or [`Head`].
///
/// Implement it for a type of your own where a response that is no [`http::Response`] has something
/// that outlives it, and name that type in
/// [`QueueMetricsLayer::until`](crate::QueueMetricsLayer::until).
pub trait MeasureUntil<R> {
    /// The response that the caller gets.
    type Measured;

    /// Ties `in_flight` to `response`, or ends it.
    fn measure(response: R, in_flight: InFlight) -> Self::Measured;
}

/// Until the body of an [`http::Response`] has ended, failed or been dropped. The default.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BodyEnd;

impl<B: Body> MeasureUntil<Response<B>> for BodyEnd {
    type Measured = Response<QueueMetricsBody<B>>;

    fn measure(response: Response<B>, in_flight: InFlight) -> Self::Measured {
        response.map(|body| QueueMetricsBody::new(body, in_flight))
    }
}

/// Until the response is there, whatever its type; it stays as it is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head;

impl<R> MeasureUntil<R> for Head {
    type Measured = R;

    fn measure(response: R, in_flight: InFlight) -> R {
        in_flight.end(Outcome::Ok);
        response
    }
}
