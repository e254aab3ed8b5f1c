//! What an attempt's error means for the dial.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use tollgate_core::ConnectErrorKind;
use tollgate_core::error::find;

use crate::attempt::AttemptError;
use crate::race::Bars;

/// The kind of an attempt's error, and what it says about the addresses not yet tried.
pub(crate) fn judge(addr: SocketAddr, error: &(dyn Error + 'static)) -> (ConnectErrorKind, Bars) {
    let ours = find::<AttemptError>(error);
    let kind = ours.map_or_else(|| ConnectErrorKind::of(error), AttemptError::kind);
    if kind == ConnectErrorKind::TooManyOpenFiles {
        return (kind, Bars::All);
    }
    if ours.is_some_and(AttemptError::is_bind) {
        return (kind, Bars::Family);
    }
    let bars = find::<io::Error>(error).map_or(Bars::None, |error| bars(addr, error));
    (kind, bars)
}

/// `EADDRNOTAVAIL` means exhausted ports for IPv4, and then only towards this destination; for IPv6
/// it is also what Linux says where IPv6 is switched off.
fn bars(addr: SocketAddr, error: &io::Error) -> Bars {
    #[cfg(unix)]
    if error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32) {
        return Bars::Family;
    }
    match error.kind() {
        io::ErrorKind::NetworkUnreachable => Bars::FamilyLast,
        io::ErrorKind::AddrNotAvailable if addr.is_ipv6() => Bars::FamilyLast,
        _ => Bars::None,
    }
}

/// How much a kind tells about what to do; the first of the highest rank speaks for the dial.
pub(crate) fn rank(kind: ConnectErrorKind) -> u8 {
    match kind {
        ConnectErrorKind::TooManyOpenFiles => 6,
        ConnectErrorKind::PortsExhausted => 5,
        ConnectErrorKind::Tls => 4,
        ConnectErrorKind::Refused => 3,
        ConnectErrorKind::TimedOut => 2,
        ConnectErrorKind::Unreachable => 0,
        _ => 1,
    }
}
