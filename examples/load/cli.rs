//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use http::Uri;

use crate::fault::Fault;
use crate::load::Load;
use crate::parse;
use crate::site::Site;

/// The time that each request may take before it is an error of kind `timeout`.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);

/// Sends one load through three clients in turn: a connection for every request, hyper-util's
/// legacy client as it comes, and Tollgate.
///
/// Without --url it starts an upstream and a DNS server of its own on loopback, so it needs
/// nothing and touches no other host. While it runs it shows progress and the pool's state on standard
/// error; at the end it prints a table, or JSON, on standard output.
#[derive(Debug, Parser)]
#[command(name = "load", max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Requests under way at once
    #[arg(long, short, value_name = "N", default_value_t = 512,
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) concurrency: u16,

    /// Requests in all, for each client
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20_000,
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) requests: u64,

    /// The most connections that Tollgate may have open to one origin
    #[arg(long, short, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) limit: u16,

    /// The time that the upstream takes over each request: 5 or 5ms, 200us, 1s; only without --url
    #[arg(long, short, value_name = "TIME", default_value = "5ms", value_parser = parse::delay)]
    pub(crate) delay: Duration,

    /// Flood this server instead, which must be yours: `http://host[:port][/path]`
    #[arg(long, value_name = "URL", value_parser = parse::url)]
    pub(crate) url: Option<Uri>,

    /// The most requests that may wait for Tollgate; without it, a place for each under way
    #[arg(long, value_name = "N")]
    pub(crate) max_waiting: Option<u16>,

    /// The upstream closes each connection after its answer; only without --url
    #[arg(long, conflicts_with = "url")]
    pub(crate) close: bool,

    /// Make this go wrong; only without --url
    #[arg(long, value_name = "FAULT", conflicts_with = "url")]
    pub(crate) fault: Option<Fault>,

    /// The time that each worker pauses between two requests
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse::delay)]
    pub(crate) pause: Duration,

    /// Stop after so many seconds, however many requests are left
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: Option<u64>,

    /// Serve Tollgate's metrics at `/metrics` and its snapshot at `/stats` while it runs
    #[arg(long, value_name = "ADDR")]
    pub(crate) serve: Option<SocketAddr>,

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

To see a fault on a dashboard, serve metrics and make it: a low --limit saturates the pool, with
--max-waiting it refuses, a long --delay makes callers wait, --close churns connections; --fault
fails every dial or every lookup, or has more origins than metrics tell apart. What fails, fails at
once: a --pause makes such a load last.

The client with a connection for every request sends at most 4,000, fewer if the machine is short
of ports: each leaves a port in TIME_WAIT for a minute.

Exit status: 0 if the load ran, 1 if the server cannot be reached or answered nothing that no
--fault kept from it, 2 for a command line that makes no sense.";

/// The client that sends the load.
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
            uris: site.uris(),
            requests,
            concurrency: self.concurrency,
            deadline: REQUEST_DEADLINE,
            pause: self.pause,
            lasts: self.seconds.map(Duration::from_secs),
        }
    }

    /// The most connections that a client with a pool keeps, by and large: what is idle at one origin
    /// is of no use at another.
    pub(crate) fn connections(&self) -> u64 {
        let spread = if self.fault == Some(Fault::ManyOrigins) {
            4
        } else {
            1
        };
        u64::from(self.concurrency) * spread
    }

    /// Returns the number of requests that may queue in Tollgate.
    pub(crate) fn max_waiting(&self) -> usize {
        self.max_waiting.unwrap_or(self.concurrency).into()
    }

    /// Returns the time that a request may queue in Tollgate: no less than it may take in all.
    pub(crate) const fn patience() -> Duration {
        REQUEST_DEADLINE
    }

    pub(crate) fn headline(&self) -> String {
        let to = match &self.url {
            Some(url) => url.to_string(),
            None => match self.fault {
                Some(fault) => format!("an upstream of its own {}", fault.told()),
                None => format!("an upstream of its own that takes {:?}", self.delay),
            },
        };
        format!(
            "{} requests, {} at once, to {to}; Tollgate's limit is {} connections",
            self.requests, self.concurrency, self.limit
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_line_option_has_help() {
        Args::command().debug_assert();
        for option in Args::command().get_arguments() {
            assert!(option.get_help().is_some(), "{option} has no help");
            for value in option.get_possible_values() {
                let told = value.get_help().is_some() || !option.get_action().takes_values();
                assert!(told, "{} of {option} has no help", value.get_name());
            }
        }
    }

    #[test]
    fn fault_option_excludes_a_given_url() {
        let fault = ["load", "--fault", "closed-port"];
        let args = Args::parse_from(fault);
        assert_eq!(args.fault, Some(Fault::ClosedPort));
        assert!(args.headline().contains("whose port is closed"));
        let url = ["--url", "http://127.0.0.1:80/"];
        assert!(Args::try_parse_from(fault.into_iter().chain(url)).is_err());
    }

    #[test]
    fn client_names_match_in_options_and_reports() {
        for one in Contender::value_variants() {
            let value = one.to_possible_value().unwrap();
            assert_eq!(value.get_name(), one.label());
        }
    }

    #[test]
    fn naming_a_client_leaves_out_the_others() {
        let args = Args::parse_from(["load", "--only", "tollgate"]);
        assert_eq!(args.contenders(), [Contender::Tollgate]);
        assert_eq!(Args::parse_from(["load"]).contenders().len(), 3);
    }
}
