//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use http::Uri;

use crate::load::Load;
use crate::site::Site;

/// What each request may take before it is an error of kind `timeout`.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);

/// Sends one load through three clients in turn: a connection for every request, hyper-util's
/// legacy client as it comes, and Tollgate.
///
/// Without --url it starts an upstream and a DNS server of its own on loopback, so it needs
/// nothing and touches nobody. While it runs it shows progress and the pool's state on standard
/// error; at the end it prints a table, or JSON, on standard output.
#[derive(Debug, Parser)]
#[command(name = "flood", max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Requests under way at once
    #[arg(long, short, value_name = "N", default_value_t = 512,
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) concurrency: u16,

    /// Requests in all, for each client
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20_000,
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) requests: u64,

    /// The most connections that Tollgate may have open
    #[arg(long, short, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) limit: u16,

    /// How long the upstream takes over each request: 5 or 5ms, 200us, 1s; only without --url
    #[arg(long, short, value_name = "TIME", default_value = "5ms", value_parser = delay)]
    pub(crate) delay: Duration,

    /// Flood this server instead, which must be yours: `http://host[:port][/path]`
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) url: Option<Uri>,

    /// Run this client only; may be given more than once
    #[arg(long, value_name = "CLIENT")]
    pub(crate) only: Vec<Contender>,

    /// Print one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

const AFTER_HELP: &str = "\
Tollgate's queue is given a place for every request under way and time enough to empty, so what
does not get a connection waits: the table's `longest wait` is the longest of those waits.

The client with a connection for every request sends at most 4,000, fewer if the machine is short
of ports: each leaves a port in TIME_WAIT for a minute.

Exit status: 0 if the load ran, 1 if the server cannot be reached or answered nothing, 2 for a
command line that makes no sense.";

/// Who sends the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// A lookup and a connection for every request
    ConnectionPerRequest,
    /// hyper-util's legacy client with its own defaults
    HyperUtilLegacy,
    /// Tollgate's stack
    Tollgate,
}

impl Contender {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ConnectionPerRequest => "connection-per-request",
            Self::HyperUtilLegacy => "hyper-util-legacy",
            Self::Tollgate => "tollgate",
        }
    }
}

impl Args {
    /// The clients to run, in the order of the table.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let all = Contender::value_variants().iter().copied();
        all.filter(|one| self.only.is_empty() || self.only.contains(one))
            .collect()
    }

    pub(crate) fn load(&self, site: &Site, requests: u64) -> Load {
        Load {
            uri: site.uri().clone(),
            requests,
            concurrency: self.concurrency,
            deadline: REQUEST_DEADLINE,
        }
    }

    /// How long a request may queue in Tollgate: no less than it may take in all.
    pub(crate) const fn patience() -> Duration {
        REQUEST_DEADLINE
    }

    pub(crate) fn headline(&self) -> String {
        let to = match &self.url {
            Some(url) => url.to_string(),
            None => format!("an upstream of its own that takes {:?}", self.delay),
        };
        format!(
            "{} requests, {} at once, to {to}; Tollgate's limit is {} connections",
            self.requests, self.concurrency, self.limit
        )
    }
}

fn url(text: &str) -> Result<Uri, String> {
    const FORM: &str = "expected http://host[:port][/path]";
    let uri: Uri = text.parse().map_err(|error| format!("{error}; {FORM}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(host)) if !host.is_empty() => Ok(uri),
        (Some("https"), _) => Err(format!("flood does not speak TLS; {FORM}")),
        _ => Err(FORM.to_owned()),
    }
}

fn delay(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(10);
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a time such as 5ms, 200us or 1s".to_owned())?;
    let delay = match unit {
        "" | "ms" => Duration::from_millis(number),
        "us" => Duration::from_micros(number),
        "s" => Duration::from_secs(number),
        _ => return Err(format!("unknown unit {unit:?}: us, ms and s are known")),
    };
    if delay > MOST {
        return Err(format!("at most {MOST:?}"));
    }
    Ok(delay)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_each_option_is_explained() {
        Args::command().debug_assert();
        for option in Args::command().get_arguments() {
            assert!(option.get_help().is_some(), "{option} has no help");
        }
    }

    #[test]
    fn names_of_clients_are_the_same_in_options_and_reports() {
        for one in Contender::value_variants() {
            let value = one.to_possible_value().unwrap();
            assert_eq!(value.get_name(), one.label());
        }
    }

    #[test]
    fn delays_are_in_milliseconds_unless_they_say_otherwise() {
        assert_eq!(delay("5"), Ok(Duration::from_millis(5)));
        assert_eq!(delay("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(delay("200us"), Ok(Duration::from_micros(200)));
        assert_eq!(delay("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(delay("0"), Ok(Duration::ZERO));
        for bad in ["", "ms", "-1", "5h", "1e3", "11s"] {
            assert!(delay(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_whole_http_urls_are_taken() {
        for good in [
            "http://127.0.0.1:8080/",
            "http://billing.internal",
            "http://[::1]:80/x",
        ] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "billing.internal",
            "/v1",
            "ftp://a/",
            "https://a/",
            "http://",
            "http:// a",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn naming_a_client_leaves_out_the_others() {
        let args = Args::parse_from(["flood", "--only", "tollgate"]);
        assert_eq!(args.contenders(), [Contender::Tollgate]);
        assert_eq!(Args::parse_from(["flood"]).contenders().len(), 3);
    }
}
