use http_body_util::{Empty, Full};

use super::*;
use crate::connection::replay::Replay;

const ORIGIN: &str = "https://a.test:8443/";

fn asked(method: Method, uri: &str, headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

fn prepared(method: Method, uri: &str, headers: &[(&'static str, &str)]) -> Request<ErasedBody> {
    ready(asked(method, uri, headers)).unwrap()
}

fn ready<B>(mut request: Request<B>) -> Result<Request<ErasedBody>, Unsendable>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let announced = check(&mut request)?;
    Ok(prepare(request, announced))
}

fn http1(mut request: Request<ErasedBody>) -> Request<ErasedBody> {
    write_http1(&mut request, &HeaderValue::from_static("a.test:8443"));
    request
}

fn http2(mut request: Request<ErasedBody>) -> Request<ErasedBody> {
    write_http2(&mut request, &Uri::from_static(ORIGIN));
    request
}

/// What is on the wire; the origin's own host may be spelt as the caller did.
fn wire(request: &Request<ErasedBody>) -> (Method, String, HeaderMap, Version) {
    let uri = request.uri().to_string().to_ascii_lowercase();
    let headers = request.headers().clone();
    (request.method().clone(), uri, headers, request.version())
}

#[test]
fn an_absolute_uri_becomes_origin_form_and_host() {
    let request = http1(prepared(
        Method::GET,
        "https://user:pass@a.test:8443/x?y=1",
        &[],
    ));
    assert_eq!(request.uri(), "/x?y=1");
    assert_eq!(request.headers()[HOST], "a.test:8443");
    let bare = http1(prepared(Method::GET, "https://a.test:8443", &[]));
    assert_eq!(bare.uri(), "/");
    assert_eq!(http1(prepared(Method::OPTIONS, "*", &[])).uri(), "*");
}

#[test]
fn a_stream_always_has_an_absolute_uri() {
    for (uri, on_wire) in [
        ("/x?y=1", "https://a.test:8443/x?y=1"),
        ("https://A.test:8443/x", "https://A.test:8443/x"),
        ("https://user@a.test:8443", "https://a.test:8443/"),
    ] {
        let request = http2(prepared(Method::GET, uri, &[]));
        assert_eq!(request.uri().to_string(), on_wire);
    }
}

#[test]
fn a_callers_host_is_kept_in_both_versions() {
    let own = [("host", "other.test")];
    let request = http1(prepared(Method::GET, "https://a.test:8443/x", &own));
    assert_eq!(request.headers()[HOST], "other.test");
    let request = http2(prepared(Method::GET, "https://a.test:8443/x", &own));
    assert_eq!(request.uri().to_string(), "https://other.test/x");
    assert!(request.headers().is_empty());
}

#[test]
fn connect_has_its_targets_authority_and_host() {
    for uri in [
        "b.test:443",
        "http://b.test:443/",
        "http://user:pass@b.test:443/x",
    ] {
        let request = http1(prepared(Method::CONNECT, uri, &[]));
        assert_eq!(request.uri(), "b.test:443");
        assert_eq!(request.headers()[HOST], "b.test:443");
    }
}

type Write = fn(Request<ErasedBody>) -> Request<ErasedBody>;

/// A request that was written by `first` and given back unsent, or replayed.
fn given_back(first: Write, asked: impl Fn() -> Request<ErasedBody>) -> [Request<ErasedBody>; 2] {
    let mut unsent = first(asked());
    if unsent.version() == Version::HTTP_2 {
        read_http2(&mut unsent, &Uri::from_static(ORIGIN));
    }
    let replay = Replay::without_body(&asked()).unwrap();
    [unsent, replay.into_request().unwrap()]
}

#[test]
fn a_retry_is_written_like_a_first_attempt() {
    let uris = [
        "https://a.test:8443/x?y",
        "https://A.test:8443",
        "/x",
        "https://u@a.test:8443/",
    ];
    let hosts = [
        &[][..],
        &[("host", "tenant.example"), ("x", "y")],
        &[("x", "y")],
    ];
    let asked = uris
        .iter()
        .flat_map(|uri| hosts.iter().map(move |headers| (*uri, *headers)));
    for (uri, headers) in asked {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let asked = || prepared(method.clone(), uri, headers);
            for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let [first, second] = [first, second].map(|at| [http1 as Write, http2][at]);
                let once = wire(&second(asked()));
                for again in given_back(first, asked) {
                    assert_eq!(wire(&second(again)), once, "{method} {uri} {headers:?}");
                }
            }
        }
    }
}

#[test]
fn a_target_unfit_for_its_method_is_refused() {
    for (method, uri) in [
        (Method::GET, "b.test:443"),
        (Method::POST, "b.test:443"),
        (Method::GET, "*"),
        (Method::CONNECT, "/x"),
    ] {
        let refused = ready(asked(method, uri, &[])).map(drop);
        assert_eq!(refused, Err(Unsendable::Target), "{uri}");
    }
}

#[test]
fn a_content_length_unlike_the_body_is_refused() {
    let sized = |length: &str, body: &'static str| {
        let request = Request::post("/").header(CONTENT_LENGTH, length);
        ready(request.body(Full::from(body)).unwrap()).map(drop)
    };
    assert_eq!(sized("5", "hello"), Ok(()));
    for (length, body) in [("5", "helloworld"), ("10", "hello"), ("26", "")] {
        let announced = length.parse().unwrap();
        let got = body.len() as u64;
        assert_eq!(
            sized(length, body),
            Err(Unsendable::Length { announced, got })
        );
    }
    for nonsense in ["", "-1", "+5", "five", "5, 5", "99999999999999999999999"] {
        assert_eq!(
            sized(nonsense, "hello"),
            Err(Unsendable::Lengths),
            "{nonsense}"
        );
    }
}

#[test]
fn no_content_length_is_sent_beside_transfer_encoding() {
    let both = [("content-length", "26"), ("transfer-encoding", "chunked")];
    let request = http1(prepared(Method::GET, "/", &both));
    assert!(!request.headers().contains_key(CONTENT_LENGTH));
}

#[test]
fn bodiless_post_put_and_patch_send_length_zero() {
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        assert_eq!(prepared(method, "/", &[]).headers()[CONTENT_LENGTH], "0");
    }
    for method in [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS] {
        assert!(prepared(method, "/", &[]).headers().is_empty());
    }
    let none = Request::post("/").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(ready(none).unwrap().headers()[CONTENT_LENGTH], "0");
}

#[test]
fn a_host_that_is_none_is_refused() {
    for host in ["", "a test", "a/b", "user:pass@"] {
        let refused = ready(asked(Method::GET, "/", &[("host", host)])).map(drop);
        assert_eq!(refused, Err(Unsendable::Host), "{host}");
    }
    let two = ready(asked(
        Method::GET,
        "/",
        &[("host", "a.test"), ("host", "b.test")],
    ));
    assert_eq!(two.map(drop), Err(Unsendable::Host));
}
