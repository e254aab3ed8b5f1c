//! Whether a server that the user named is there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::BoxError;
use crate::cli::Args;

/// The time that reaching the server may take before the load is called off.
const CHECK: Duration = Duration::from_secs(5);

/// Makes sure that the server the user named is there, before the load starts.
pub(crate) async fn check(args: &Args) -> Result<(), BoxError> {
    let Some(url) = &args.url else {
        return Ok(());
    };
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().unwrap_or(80);
    let failed = |what: &str, error: io::Error| format!("cannot {what}: {error}");
    let addrs = resolve(host, port)
        .await
        .map_err(|error| failed(&format!("resolve {host}"), error))?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in addrs {
        match deadline(TcpStream::connect(addr)).await {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(failed(&format!("connect to {host} on port {port}"), last).into())
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = literal.parse::<IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    Ok(deadline(tokio::net::lookup_host((host, port)))
        .await?
        .collect())
}

async fn deadline<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(CHECK, step).await.unwrap_or_else(|_| {
        let error = format!("no answer within {CHECK:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, error))
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use clap::Parser;
    use tollgate_testing::{Plain, Refused};

    use super::*;

    async fn refusal(url: &str) -> String {
        let args = Args::parse_from(["load", "--url", url]);
        check(&args).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn unreachable_server_is_reported_before_the_load() {
        let refused = Refused::start(Ipv4Addr::LOCALHOST);
        let url = format!("http://{}/", refused.addr());
        let error = refusal(&url).await;
        assert!(error.contains("cannot connect to 127.0.0.1"), "{error}");
        assert!(error.contains("refused"), "{error}");
        let error = refusal("http://load.invalid/").await;
        assert!(error.contains("cannot resolve load.invalid"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_is_there_is_let_through() {
        let upstream = Plain::builder().start().await;
        let url = upstream.uri("/").to_string();
        let args = Args::parse_from(["load", "--url", &url]);
        assert!(check(&args).await.is_ok());
        assert!(check(&Args::parse_from(["load"])).await.is_ok());
    }
}
