//! What a builder refuses, and how it says so.

use std::error::Error;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use tollgate::cached_dns::{Answer, Gai, StaticHosts};
use tollgate::{BuildErrorKind, Client, ClientBuilder};
use tower::Service;

type Setter = fn(ClientBuilder) -> ClientBuilder;

#[test]
fn zero_option_is_refused_with_its_name() {
    let zero = Duration::ZERO;
    assert!(zero.is_zero());
    let cases: [(&str, Setter); 20] = [
        ("max_connections_per_origin", |b| {
            b.max_connections_per_origin(0)
        }),
        ("max_connections_total", |b| b.max_connections_total(0)),
        ("max_connecting_per_origin", |b| {
            b.max_connecting_per_origin(0)
        }),
        ("max_requests_per_connection", |b| {
            b.max_requests_per_connection(0)
        }),
        ("origin.max_connections_per_origin", |b| {
            b.origin("http://a", |o| o.max_connections_per_origin(0))
        }),
        ("origin.max_connecting_per_origin", |b| {
            b.origin("http://a", |o| o.max_connecting_per_origin(0))
        }),
        ("origin.acquire_timeout", |b| {
            b.origin("http://a", |o| o.acquire_timeout(Duration::ZERO))
        }),
        ("origin.idle_timeout", |b| {
            b.origin("http://a", |o| o.idle_timeout(Duration::ZERO))
        }),
        ("origin.max_lifetime", |b| {
            b.origin("http://a", |o| o.max_lifetime(Duration::ZERO))
        }),
        ("origin.connect_timeout", |b| {
            b.origin("http://a", |o| o.connect_timeout(Duration::ZERO))
        }),
        ("acquire_timeout", |b| b.acquire_timeout(Duration::ZERO)),
        ("idle_timeout", |b| b.idle_timeout(Duration::ZERO)),
        ("max_lifetime", |b| b.max_lifetime(Duration::ZERO)),
        ("connect_timeout", |b| b.connect_timeout(Duration::ZERO)),
        ("dns_timeout", |b| b.dns_timeout(Duration::ZERO)),
        ("tcp_timeout", |b| b.tcp_timeout(Duration::ZERO)),
        ("tls_timeout", |b| b.tls_timeout(Duration::ZERO)),
        ("response_timeout", |b| b.response_timeout(Duration::ZERO)),
        ("body_idle_timeout", |b| b.body_idle_timeout(Duration::ZERO)),
        ("dns_max_ttl", |b| b.dns_max_ttl(Duration::ZERO)),
    ];
    for (field, set) in cases {
        let error = set(Client::builder()).build().unwrap_err();
        assert_eq!((error.field(), error.kind()), (field, BuildErrorKind::Zero));
        assert!(
            error.to_string().starts_with(&format!("{field} is 0: ")),
            "{error}"
        );
    }
}

#[test]
fn timeouts_that_contradict_each_other_are_refused() {
    const SHORT: Duration = Duration::from_millis(100);
    let cases: [(Setter, &str, &str); 4] = [
        (
            |b| b.response_timeout(SHORT).acquire_timeout(SHORT),
            "response_timeout",
            "acquire_timeout",
        ),
        (
            |b| b.timeout(SHORT).response_timeout(SHORT),
            "timeout",
            "response_timeout",
        ),
        (
            |b| b.timeout(SHORT).acquire_timeout(SHORT),
            "timeout",
            "acquire_timeout",
        ),
        (
            |b| {
                b.timeout(SHORT)
                    .origin("http://a", |o| o.body_idle_timeout(SHORT))
            },
            "origin.timeout",
            "body_idle_timeout",
        ),
    ];
    for (set, field, other) in cases {
        let error = set(Client::builder()).build().unwrap_err();
        let named = (error.field(), error.kind());
        assert_eq!(named, (field, BuildErrorKind::Conflict), "{error}");
        assert!(error.to_string().contains(other), "{error}");
    }
    // One that is set has no quarrel with the default of another.
    assert!(Client::builder().timeout(SHORT).build().is_ok());
}

#[test]
fn zero_is_taken_where_it_means_none() {
    let client = Client::builder()
        .max_waiting(0)
        .max_idle_per_origin(0)
        .build();
    assert!(client.is_ok());
}

#[test]
fn a_minimum_above_a_maximum_is_refused() {
    let cases: [Setter; 3] = [
        |b| b.max_idle_per_origin(1),
        |b| b.max_connections_per_origin(1),
        |b| b.max_connections_total(1),
    ];
    for set in cases {
        let error = set(Client::builder().min_idle_per_origin(2))
            .build()
            .unwrap_err();
        assert_eq!(error.field(), "min_idle_per_origin");
        assert_eq!(error.kind(), BuildErrorKind::AboveLimit);
    }
    let error = Client::builder()
        .origin("http://a", |o| {
            o.min_idle_per_origin(3).max_connections_per_origin(2)
        })
        .build()
        .unwrap_err();
    assert_eq!(error.field(), "origin.min_idle_per_origin");
    // The cap per origin has to do with the default here.
    let error = Client::builder()
        .min_idle_per_origin(129)
        .build()
        .unwrap_err();
    assert_eq!(error.field(), "min_idle_per_origin");
}

#[test]
fn malformed_origin_is_refused_with_an_example() {
    let error = Client::builder()
        .origin("billing.internal/v1", |o| o)
        .build()
        .unwrap_err();
    assert_eq!(
        (error.field(), error.kind()),
        ("origin", BuildErrorKind::Invalid)
    );
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("https://billing.internal"), "{cause}");
    assert_eq!(error.to_string(), format!("origin is not valid: {cause}"));
}

#[test]
fn a_connector_excludes_the_parts_it_replaces() {
    let cases: [(&str, Setter); 3] = [
        ("resolver", |b| b.resolver(StaticHosts::new())),
        ("dns", |b| {
            b.dns(tollgate::cached_dns::CachedDnsLayer::new())
        }),
        ("dial", |b| b.dial(tollgate::dial::DialLayer::new())),
    ];
    for (field, set) in cases {
        let before = set(Client::builder())
            .connector(Nowhere)
            .build()
            .unwrap_err();
        let after = set(Client::builder().connector(Nowhere))
            .build()
            .unwrap_err();
        for error in [before, after] {
            assert_eq!(
                (error.field(), error.kind()),
                (field, BuildErrorKind::Conflict)
            );
        }
    }
    assert!(
        Client::builder()
            .connector(Nowhere)
            .build()
            .unwrap()
            .dns()
            .is_none()
    );
}

// Without anybody to trust that comes first.
#[cfg(feature = "webpki-roots")]
#[test]
fn unusable_tls_options_are_refused_with_reason() {
    use tollgate::tls::TlsOptions;
    let cases = [
        (
            TlsOptions::new().root_pem("not PEM"),
            "holds no certificate",
        ),
        (TlsOptions::new().webpki_roots(false), "nothing is trusted"),
        (
            TlsOptions::new().identity_pem("", "no key"),
            "not a PEM private key",
        ),
        (
            TlsOptions::new().server_name("a b"),
            "neither a host name nor an address",
        ),
    ];
    for (options, reason) in cases {
        let error = Client::builder().tls(options).build().unwrap_err();
        assert_eq!(
            (error.field(), error.kind()),
            ("tls", BuildErrorKind::Invalid)
        );
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains(reason), "{cause}");
    }
    let error = Client::builder()
        .tls(TlsOptions::new())
        .connector(Nowhere)
        .build()
        .unwrap_err();
    assert_eq!(error.field(), "tls");
}

#[test]
fn builder_builds_twice_and_outside_a_runtime() {
    let builder = Client::builder().resolver(Gai::new());
    assert!(builder.clone().build().is_ok() && builder.build().is_ok());
}

#[test]
fn hyper_util_resolver_and_ttl_answers_are_accepted() {
    use hyper_util::client::legacy::connect::dns::GaiResolver;
    let answers = tower::service_fn(|_| ready(Ok::<_, std::io::Error>(Answer::new([]))));
    assert!(
        Client::builder()
            .resolver(GaiResolver::new())
            .build()
            .is_ok()
    );
    assert!(Client::builder().resolver(answers).build().is_ok());
}

/// A connector that connects nothing.
#[derive(Clone)]
struct Nowhere;

impl Service<Uri> for Nowhere {
    type Response = hyper_util::rt::TokioIo<tokio::net::TcpStream>;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(Err(std::io::ErrorKind::Unsupported.into()))
    }
}
