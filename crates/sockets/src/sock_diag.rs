//! The kernel's `sock_diag` over netlink.

use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{
    ErrorBuffer, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, Parseable,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::TcpState;
use crate::table::{MAX_SOCKETS, Socket};

/// The kernel sends dumps in pieces of at most 32 KiB.
const BUFFER: usize = 64 * 1024;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// `INET_DIAG_NOCOOKIE`: the two ends are enough.
const ANY_COOKIE: [u8; 8] = [0xff; 8];

const ENOENT: i32 = 2;

pub(crate) fn read() -> io::Result<Vec<Socket>> {
    let mut all = Vec::new();
    for (family, id) in [
        (AF_INET, SocketId::new_v4()),
        (AF_INET6, SocketId::new_v6()),
    ] {
        // A channel for each family: one that was broken off would still have messages of its dump
        // in it.
        let channel = Channel::open()?;
        channel.send(request(family, id), NLM_F_REQUEST | NLM_F_DUMP)?;
        channel.receive(|header| {
            all.extend(socket(header));
            all.len() < MAX_SOCKETS
        })?;
    }
    Ok(all)
}

pub(crate) fn state(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<TcpState>> {
    let id = SocketId {
        source_port: local.port(),
        destination_port: remote.port(),
        source_address: local.ip(),
        destination_address: remote.ip(),
        interface_id: 0,
        cookie: ANY_COOKIE,
    };
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    let channel = Channel::open()?;
    channel.send(request(family, id), NLM_F_REQUEST)?;
    let mut found = None;
    let received = channel.receive(|header| {
        // A connection that is gone finds who listens on its port.
        found = TcpState::from_number(header.state).filter(|state| *state != TcpState::Listen);
        false
    });
    match received {
        // The kernel's answer for two ends that it does not know.
        Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(None),
        received => received.map(|()| found),
    }
}

fn request(family: u8, socket_id: SocketId) -> InetRequest {
    InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id,
    }
}

/// `None` for a state that this crate does not know.
fn socket(header: &InetResponseHeader) -> Option<Socket> {
    let state = TcpState::from_number(header.state)?;
    let id = &header.socket_id;
    let local = SocketAddr::new(id.source_address, id.source_port);
    let remote = SocketAddr::new(id.destination_address, id.destination_port);
    Some(Socket::new(local, remote, state, header.inode.into()))
}

struct Channel(netlink_sys::Socket);

impl Channel {
    fn open() -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
        // The kernel answers within `send`, and goes on with a dump within each `recv`: there is
        // nothing to wait for, and an answer that does not come is an error and no hang.
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    fn send(&self, request: InetRequest, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let sent = self.0.send(&bytes, 0)?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Hands over each socket until the dump is over, or `more` returns false.
    fn receive(&self, mut more: impl FnMut(&InetResponseHeader) -> bool) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            buffer.clear();
            self.0.recv(&mut buffer, 0)?;
            let mut rest = &buffer[..];
            if rest.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
                match message.message_type() {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return failed(&message),
                    _ => {}
                }
                let header = InetResponseHeader::parse(message.payload());
                if !more(&header.map_err(io::Error::other)?) {
                    return Ok(());
                }
                // Messages start at multiples of four; `new_checked` has seen that one fits.
                let length = usize::try_from(message.length()).map_err(io::Error::other)?;
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

fn failed(message: &NetlinkBuffer<&[u8]>) -> io::Result<()> {
    let buffer = ErrorBuffer::new_checked(message.payload()).map_err(io::Error::other)?;
    match buffer.code() {
        // Code zero acknowledges: netlink(7).
        None => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.get().saturating_neg())),
    }
}
