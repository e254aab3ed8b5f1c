//! A page of the state of a client's pools, for the one who is paged: as text for curl, as JSON, and
//! as one self-contained HTML page.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = tollgate::Client::new();
//! let app: axum::Router = axum::Router::new()
//!     .route_service("/debug/pools", tollgate::debug::Pools::new(client));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9000").await?;
//! axum::serve(listener, app).await?;
//! # Ok(()) }
//! ```
//!
//! ```text
//! curl localhost:9000/debug/pools                              # text
//! curl -H 'accept: application/json' localhost:9000/debug/pools   # or ?format=json
//! ```
//!
//! # Do not expose it
//!
//! It names the origins, addresses and failures of a service's calls to others. Bind it to loopback or
//! to an operators' network, or put it behind their authentication; there is none here. It shows no
//! path, query, header or body.
//!
//! # What it shows
//!
//! Each origin, the fullest first: connections in use against the limit, calls that wait, both over
//! the last three minutes, the mean wait, the oldest exchange (of a client that has
//! [`leak_after`](crate::ClientBuilder::leak_after) or
//! [`detect_deadlocks`](crate::ClientBuilder::detect_deadlocks)), reasons of closes, addresses; the names
//! of the DNS cache; and the last failures. Connections for
//! [exchanges that last](crate::ClientBuilder::max_long_lived_per_origin) have rows of their own.
//!
//! # Cost
//!
//! A look reads each pool once. A task takes a sample every two seconds, from the first look on or from
//! [`Pools::new`] inside a runtime, for 256 origins at most, until the last clone is dropped.

mod failures;
mod history;
mod html;
mod row;
mod text;

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use tower_service::Service;

use crate::client::Client;
pub(crate) use failures::Failures;
use history::History;
use row::rows;

/// The page, as a service that any server mounts; see [the module](self).
///
/// It answers every request, whatever its method and path.
#[derive(Clone)]
pub struct Pools {
    client: Client,
    history: Arc<History>,
}

impl Pools {
    /// The page of this client.
    pub fn new(client: Client) -> Self {
        let history = Arc::new(History::default());
        history.sample(&client);
        Self { client, history }
    }

    fn answer<B>(&self, request: &Request<B>) -> (&'static str, String) {
        // Again, since `new` may have run outside of a runtime.
        self.history.sample(&self.client);
        let rows = rows(&self.client, &self.history);
        let names = self.client.snapshot().names;
        let failures = self.client.failures();
        match Format::of(request) {
            Format::Text => (
                "text/plain; charset=utf-8",
                text::page(&rows, &names, &failures),
            ),
            Format::Json => ("application/json", text::json(&rows, &names, &failures)),
            Format::Html => (
                "text/html; charset=utf-8",
                html::page(&rows, &names, &failures),
            ),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
    Html,
}

impl Format {
    /// Returns the format of the query, or else of the `Accept` header.
    fn of<B>(request: &Request<B>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let asked = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("format="));
        let accept = request.headers().get(header::ACCEPT);
        let accept = accept.and_then(|accept| accept.to_str().ok());
        match (asked, accept.unwrap_or_default()) {
            (Some("json"), _) => Self::Json,
            (Some("html"), _) => Self::Html,
            (None, accept) if accept.contains("text/html") => Self::Html,
            (None, accept) if accept.contains("application/json") => Self::Json,
            // Also for curl, which accepts anything.
            _ => Self::Text,
        }
    }
}

impl<B> Service<Request<B>> for Pools {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (kind, page) = self.answer(&request);
        let mut response = Response::new(Full::new(Bytes::from(page)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        // A copy on the way would show the state before the incident.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        ready(Ok(response))
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
