//! This host: descriptors, local ports, `TIME_WAIT`.

use std::net::SocketAddr;

use tollgate_sockets::{Files, Ports, Sockets, SocketsError, TcpState, TwReuse};

use super::report::Check;
use super::words::percent;

/// Fewer descriptors than the pool's default cap on one origin, twice: calls fail at once.
const FEW_FILES: u64 = 256;
/// Docker's and many units' soft limit is 1,024, which eight origins at the default cap reach.
const SOME_FILES: u64 = 4_096;
/// Below a tenth of the limit the next burst fails.
const FILES_LEFT: f64 = 0.1;

/// 1,000 ports are 16 new connections a second.
const FEW_PORTS: u32 = 1_000;
/// 10,000 ports are 166 new connections a second, a third of the default range.
const SOME_PORTS: u32 = 10_000;

/// Less than this is a finding, before connects get slow at half.
const PORTS_LEFT: f64 = 0.8;

/// The descriptors of this process, or of another one.
pub(crate) fn descriptors(pid: Option<u32>) -> Check {
    let id = "descriptors";
    let whose = pid.map_or_else(|| "this shell".to_owned(), |pid| format!("process {pid}"));
    let files = match pid.map_or_else(Files::read, Files::of) {
        Ok(files) => files,
        Err(error) => return unreadable(id, &error),
    };
    let Files {
        open, limit, hard, ..
    } = files;
    let check = if limit < FEW_FILES || files.headroom() < FILES_LEFT {
        Check::critical(id, format!("{limit} file descriptors are too few"))
    } else if limit < SOME_FILES {
        Check::warning(id, format!("{limit} file descriptors are few"))
    } else {
        return Check::ok(
            id,
            format!("{limit} file descriptors, {open} in use by {whose}"),
        );
    };
    check
        .evidence(format!(
            "{whose} has {open} open of {limit}, and may raise that to {hard}"
        ))
        .option(
            "ulimit -n 65536, or LimitNOFILE= in the systemd unit: more than the sum of all caps",
        )
}

pub(crate) fn local_ports(ports: Result<&Ports, &SocketsError>) -> Check {
    let id = "local-ports";
    let ports = match ports {
        Ok(ports) => ports,
        Err(error) => return unreadable(id, error),
    };
    let (usable, range) = (ports.usable(), &ports.range);
    let summary = format!("{usable} local ports for each destination");
    let check = match usable {
        ..FEW_PORTS => Check::critical(id, summary),
        FEW_PORTS..SOME_PORTS => Check::warning(id, summary),
        _ => return Check::ok(id, summary),
    };
    check
        .evidence(format!(
            "ip_local_port_range is {} to {}, {} reserved: {:.1} new connections a second, for TIME_WAIT lasts 60 s",
            range.start(),
            range.end(),
            u32::from(range.end() - range.start()) + 1 - usable,
            f64::from(usable) / 60.0,
        ))
        .option("sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"")
}

/// Local ports to the origin's addresses that are taken, before anything was sent to them.
pub(crate) fn time_wait(addrs: &[SocketAddr], ports: Result<&Ports, &SocketsError>) -> Check {
    let id = "time-wait";
    let ports = match ports {
        Ok(ports) => ports,
        Err(error) => return unreadable(id, error),
    };
    let sockets = match Sockets::read() {
        Ok(sockets) => sockets,
        Err(error) => return unreadable(id, &error),
    };
    let destinations = addrs.iter().map(|addr| sockets.destination(*addr, ports));
    // Each address has ports of its own, and the fullest runs out first.
    let Some(fullest) = destinations.max_by_key(|one| one.ports_taken) else {
        return Check::skipped(id, "no address to look for");
    };
    let waiting = fullest.sockets.of(TcpState::TimeWait);
    let left = percent(fullest.headroom());
    let summary = format!("{left} of the local ports to {} are left", fullest.remote);
    let check = if fullest.headroom() < tollgate_sockets::SLOW_PORTS {
        Check::critical(id, summary)
    } else if fullest.headroom() < PORTS_LEFT {
        Check::warning(id, summary)
    } else {
        return Check::ok(id, format!("{summary}, {waiting} sockets in TIME_WAIT"));
    };
    let reuse = match ports.tw_reuse {
        Some(TwReuse::All) => "on",
        Some(TwReuse::Loopback) => "for loopback only",
        Some(TwReuse::Off) => "off",
        _ => "unknown",
    };
    check
        .evidence(format!(
            "{waiting} in TIME_WAIT, {} established, {} ports taken of {}; connect gets slow at half; tcp_tw_reuse is {reuse}",
            fullest.sockets.of(TcpState::Established),
            fullest.ports_taken,
            fullest.ports,
        ))
        .option("keep connections alive (one client for the process, bodies read to their end) in what opens one for each call; for the moment sysctl -w net.ipv4.tcp_tw_reuse=1")
}

fn unreadable(id: &'static str, error: &SocketsError) -> Check {
    Check::skipped(id, error.to_string())
}
