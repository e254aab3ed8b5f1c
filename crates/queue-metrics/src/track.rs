//! How far into a response a request is in flight.

use http::Response;
use http_body::Body;
use tollgate_core::Timings;

use crate::body::QueueMetricsBody;
use crate::service_series::{InFlight, Outcome};

/// How far into a response of type `R` a request is in flight.
///
/// Implement it for a type of your own where a response that is no [`http::Response`] has something
/// that outlives it, and name that type in
/// [`QueueMetricsLayer::tracked_by`](crate::QueueMetricsLayer::tracked_by).
pub trait Track<R> {
    /// The response with whatever carries the [`InFlight`].
    type Tracked;

    /// Takes over a request in flight whose response is there.
    fn track(response: R, in_flight: InFlight) -> Self::Tracked;
}

/// To the end of an [`http::Response`]'s body, or until it is dropped.
///
/// A [`Timings`] in the response's extensions adds its `queued` to the wait.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ToBodyEnd;

impl<B: Body> Track<Response<B>> for ToBodyEnd {
    type Tracked = Response<QueueMetricsBody<B>>;

    fn track(response: Response<B>, mut in_flight: InFlight) -> Self::Tracked {
        if let Some(timings) = response.extensions().get::<Timings>() {
            in_flight.waited_below(timings.queued);
        }
        response.map(|body| QueueMetricsBody::new(body, in_flight))
    }
}

/// To the response, of any type.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ToResponse;

impl<R> Track<R> for ToResponse {
    type Tracked = R;

    fn track(response: R, in_flight: InFlight) -> R {
        in_flight.end(Outcome::Ok);
        response
    }
}
