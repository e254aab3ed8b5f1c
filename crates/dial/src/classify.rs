//! The kinds of attempts' errors, and their consequences for the dial.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use tollgate_core::ConnectErrorKind;
use tollgate_core::error::find;

use crate::attempt::AttemptError;
use crate::race::Bars;

/// The kind of an attempt's error, and which of the untried addresses it bars.
pub(crate) fn classify(
    addr: SocketAddr,
    error: &(dyn Error + 'static),
) -> (ConnectErrorKind, Bars) {
    let ours = find::<AttemptError>(error);
    let kind = ours.map_or_else(|| ConnectErrorKind::of(error), AttemptError::kind);
    // First, and whoever's error it is: without descriptors no other address has a chance.
    if kind == ConnectErrorKind::TooManyOpenFiles {
        return (kind, Bars::All);
    }
    // The local address is one for the whole family: the next of its addresses would fail alike.
    if ours.is_some_and(AttemptError::is_bind) {
        return (kind, Bars::Family);
    }
    let bars = find::<io::Error>(error).map_or(Bars::None, |error| bars(addr, error));
    (kind, bars)
}

/// `EADDRNOTAVAIL` means exhausted ports for IPv4, and then only towards this destination; for IPv6
/// it is also Linux' error where IPv6 is switched off.
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

/// The rank of a kind by how telling it is; the first of the highest rank is the dial's kind.
pub(crate) fn rank(kind: ConnectErrorKind) -> u8 {
    match kind {
        ConnectErrorKind::TooManyOpenFiles => 6,
        ConnectErrorKind::PortsExhausted => 5,
        ConnectErrorKind::Tls => 4,
        ConnectErrorKind::Refused => 3,
        ConnectErrorKind::Timeout => 2,
        ConnectErrorKind::Unreachable => 0,
        _ => 1,
    }
}
