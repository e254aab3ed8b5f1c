//! What the right-hand columns of the guide's migration tables name: it has to compile.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use http::{Request, Uri};
use tollgate::cached_dns::{CachedDns, CachedDnsLayer, Gai, StaticHosts};
use tollgate::connect_timeout::ConnectTimeoutLayer;
use tollgate::dial::{Dial, DialLayer};
use tollgate::keep_alive::AssumeTls;
use tollgate::tls::{Alpn, TlsOptions, TlsVersion};
use tollgate::{Body, BoxError, Client, Http2Options, Protocol, RetryPolicy};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tower::Layer;

fn options(limit: Duration, address: IpAddr, tls: TlsOptions) -> Result<Client, BoxError> {
    let hosts = StaticHosts::new().host("billing.internal", [address]);
    let client = Client::builder()
        .max_connections_per_origin(32)
        .max_idle_per_origin(8)
        .idle_timeout(limit)
        .connect_timeout(limit)
        .tcp_timeout(limit)
        .response_timeout(limit)
        .body_idle_timeout(limit)
        .timeout(limit)
        .retry(RetryPolicy::NEVER)
        .protocol(Protocol::Http2)
        .http2(multiplexed(limit))
        .resolver(Gai::new())
        .dns(CachedDnsLayer::new().overrides(hosts))
        .dial(dialled(limit, address))
        .tls(tls)
        .build()?;
    client.warm("https://billing.internal", 2)?;
    Ok(client)
}

fn multiplexed(limit: Duration) -> Http2Options {
    Http2Options::new()
        .ping_interval(Some(limit))
        .ping_timeout(limit)
        .stream_window(1 << 20)
        .connection_window(1 << 24)
        .adaptive_window(true)
        .max_streams_per_connection(NonZeroUsize::MIN)
        .max_http2_connections(NonZeroUsize::MIN)
}

fn dialled(limit: Duration, address: IpAddr) -> DialLayer {
    DialLayer::new()
        .nodelay(true)
        .tcp_keepalive((limit, 3))
        .user_timeout(limit)
        .local_address(address)
        .interface("eth0")
        .unix_socket("docker", "/run/docker.sock")
        .attempt_delay(limit)
        .below_tls()
}

fn encrypted(pem: &'static str, config: rustls::ClientConfig) -> TlsOptions {
    let options = TlsOptions::new()
        .root_pem(pem)
        .webpki_roots(false)
        .identity_pem(pem, pem)
        .min_version(TlsVersion::Tls13)
        .rustls_config(config)
        .danger_accept_invalid_certs(true)
        .alpn(Alpn::Auto);
    #[cfg(feature = "platform-verifier")]
    let options = options.platform_verifier(true);
    TlsOptions::alpn(options, Alpn::Http2)
}

fn connector(dial: Dial<CachedDns<Gai>>) -> Result<Client, BoxError> {
    Ok(Client::builder().connector(AssumeTls::new(dial)).build()?)
}

async fn called(client: Client, request: Request<Body>) -> Result<Grpc<Client>, BoxError> {
    let response = match client.request(request).await {
        Err(error) if error.is_timeout() || error.is_connect() => {
            return Err(error.kind().label().into());
        }
        other => other?,
    };
    let _is_no_error = response.status();
    response.into_body().collect_within(1 << 20).await?;
    let _body: [Body; 2] = [Body::from("text"), Body::from(vec![1])];
    Ok(Grpc::with_origin(
        client,
        Uri::from_static("http://billing"),
    ))
}

#[cfg(feature = "json")]
async fn parsed(client: &Client, value: u64) -> Result<u64, BoxError> {
    let request = Request::post("http://billing.internal/").body(Body::from_json(&value)?)?;
    let response = client.request(request).await?;
    Ok(response.into_body().json::<u64>(1 << 20).await?)
}

async fn channel(limit: Duration) -> Result<Channel, BoxError> {
    let connector = ConnectTimeoutLayer::new(limit).layer(Dial::new(CachedDns::gai()));
    let endpoint = Endpoint::from_static("http://billing:50051");
    Ok(Endpoint::connect_with_connector(&endpoint, connector).await?)
}
