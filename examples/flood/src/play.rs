//! The acts: upstreams as they are.

use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::Duration;

use http::Uri;

use crate::act::{Act, Column, Row, thousands};
use crate::client::{Client, Failure};
use crate::load::Load;
use crate::ports::FewPorts;
use crate::upstream::Limits;

/// Longer than any act: callers that wait for ever.
const NO_LIMIT: Duration = Duration::from_secs(60);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const WIDE: Limits = Limits {
    work: millis(5),
    connections: u64::MAX,
    workers: 1 << 16,
};

pub(crate) const ACTS: [Act; 4] = [
    Act {
        title: "1. An upstream that takes 64 connections",
        story: "256 callers, 20 ms a request. The 65th connection is accepted and closed.",
        limits: Limits {
            work: millis(20),
            connections: TAKES as u64,
            workers: 1 << 16,
        },
        load: Load {
            callers: 256,
            patience: NO_LIMIT,
            lasts: millis(1_800),
        },
        columns: &[
            Column::Errors,
            Column::Good,
            Column::P50,
            Column::P99,
            Column::Opened,
            Column::TimeWait,
        ],
        clients: &[
            Client::per_request,
            Client::hyper_util,
            Client::reqwest,
            |uri| Client::reqwest(uri).behind("reqwest + semaphore(64)", TAKES),
            |uri| capped("Tollgate, cap 64", uri, TAKES),
        ],
        seen: first_seen,
    },
    Act {
        title: "2. Callers with patience, demand above capacity",
        story: "400 callers give up after 220 ms. The upstream works on 32 requests at a time, \
                50 ms each (640/s), and does not see that a caller has left.",
        limits: Limits {
            work: millis(50),
            connections: u64::MAX,
            workers: WORKERS,
        },
        load: Load {
            callers: 400,
            patience: PATIENCE,
            lasts: millis(2_500),
        },
        columns: &[
            Column::Errors,
            Column::Good,
            Column::P50,
            Column::InVain,
            Column::Opened,
            Column::TimeWait,
        ],
        clients: &[
            Client::hyper_util,
            |uri| Client::reqwest(uri).behind("reqwest + semaphore(32)", WORKERS),
            |uri| capped("Tollgate, cap 32", uri, WORKERS),
            |uri| {
                let options = tollgate::Client::builder().max_connections_per_origin(WORKERS);
                let options = options.timeout(PATIENCE);
                Client::tollgate("Tollgate, and timeout 220 ms", uri, options)
            },
        ],
        seen: second_seen,
    },
    Act {
        title: "3. Local ports run out",
        story: "512 callers, 5 ms a request, 256 local ports for each client's sockets.",
        limits: WIDE,
        load: Load {
            callers: 512,
            patience: NO_LIMIT,
            lasts: millis(1_400),
        },
        columns: &[
            Column::Errors,
            Column::Good,
            Column::P50,
            Column::P99,
            Column::Opened,
            Column::TimeWait,
        ],
        clients: &[
            |uri| Client::legacy("connection per request", uri, few_ports(uri), false),
            |uri| Client::legacy("hyper-util", uri, few_ports(uri), true),
            |uri| {
                let options = tollgate::Client::builder().max_connections_per_origin(TAKES);
                Client::tollgate("Tollgate, cap 64", uri, options.connector(few_ports(uri)))
            },
        ],
        seen: third_seen,
    },
    Act {
        title: "The price: an upstream without a limit",
        story: "256 callers, 5 ms a request: here a cap can only cost.",
        limits: WIDE,
        load: Load {
            callers: 256,
            patience: NO_LIMIT,
            lasts: millis(1_400),
        },
        columns: &[
            Column::Errors,
            Column::Good,
            Column::P50,
            Column::P99,
            Column::Opened,
            Column::TimeWait,
        ],
        clients: &[
            Client::hyper_util,
            Client::reqwest,
            |uri| capped("Tollgate, cap 64", uri, TAKES),
            |uri| capped("Tollgate, cap 256", uri, 256),
        ],
        seen: price_seen,
    },
];

/// Connections that the first upstream takes, and the cap that suits it.
const TAKES: usize = 64;

/// Requests that the second upstream works on at once, and the cap that suits it.
const WORKERS: usize = 32;

const PATIENCE: Duration = millis(220);

fn capped(name: &'static str, uri: &Uri, cap: usize) -> Client {
    let options = tollgate::Client::builder().max_connections_per_origin(cap);
    Client::tollgate(name, uri, options)
}

/// A range that no other client of this run has used, below those that the kernel hands out.
fn few_ports(uri: &Uri) -> FewPorts {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    const PORTS: u16 = 256;
    let first = NEXT.fetch_add(PORTS, Relaxed);
    let ports: Range<u16> = first..first + PORTS;
    let to = uri.authority().and_then(|to| to.as_str().parse().ok());
    FewPorts::new(
        to.expect("the upstream's address is a socket address"),
        ports,
    )
}

fn first_seen(rows: &[Row]) -> String {
    let [_, legacy, _, semaphore, ours] = rows else {
        return String::new();
    };
    format!(
        "Seen: hyper-util met {} errors over {} connections for {} good answers a second; a semaphore \
         met {}, for {}; Tollgate met {} over {} connections, for {}.",
        legacy.cell(Column::Errors),
        legacy.cell(Column::Opened),
        legacy.cell(Column::Good),
        semaphore.cell(Column::Errors),
        semaphore.cell(Column::Good),
        ours.cell(Column::Errors),
        ours.cell(Column::Opened),
        ours.cell(Column::Good),
    )
}

fn second_seen(rows: &[Row]) -> String {
    let [legacy, semaphore, ours, told] = rows else {
        return String::new();
    };
    // What 32 workers can do in 1 s at 50 ms each.
    let possible = |row: &Row| row.rate() * 100 / 640;
    format!(
        "Seen: of the answers possible, hyper-util got {}%, a semaphore {}%, Tollgate {}%, and {}% \
         with the callers' patience as its timeout.",
        possible(legacy),
        possible(semaphore),
        possible(ours),
        possible(told),
    )
}

fn third_seen(rows: &[Row]) -> String {
    let [villain, legacy, ours] = rows else {
        return String::new();
    };
    let ports = |row: &Row| thousands(row.failed_with(Failure::NoPort));
    format!(
        "Seen: EADDRNOTAVAIL failed {} calls of a connection per request, {} of hyper-util and {} of \
         Tollgate, which opened {} connections.",
        ports(villain),
        ports(legacy),
        ports(ours),
        ours.cell(Column::Opened),
    )
}

fn price_seen(rows: &[Row]) -> String {
    let [legacy, _, ours, wide] = rows else {
        return String::new();
    };
    format!(
        "Seen: a cap of 64 leaves {} answers a second of hyper-util's {}, p50 {} for {}; a cap as high \
         as the callers leaves {}, p50 {}.",
        ours.cell(Column::Good),
        legacy.cell(Column::Good),
        ours.cell(Column::P50),
        legacy.cell(Column::P50),
        wide.cell(Column::Good),
        wide.cell(Column::P50),
    )
}
