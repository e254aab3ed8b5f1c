//! The text of `/proc/net/tcp` and `/proc/net/tcp6`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::TcpState;
use crate::table::{MAX_SOCKETS, Socket};

pub(crate) fn read(folder: &str) -> io::Result<Vec<Socket>> {
    let mut all = Vec::new();
    read_file(File::open(format!("{folder}/tcp"))?, &mut all)?;
    // A kernel without IPv6 has no such file.
    match File::open(format!("{folder}/tcp6")) {
        Ok(file) => read_file(file, &mut all)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(all)
}

fn read_file(file: File, all: &mut Vec<Socket>) -> io::Result<()> {
    for line in BufReader::new(file).lines().skip(1) {
        if all.len() >= MAX_SOCKETS {
            return Ok(());
        }
        all.extend(parse(&line?));
    }
    Ok(())
}

/// `sl local remote state queues timer retransmits uid timeout inode …`; `None` for a state that this
/// crate does not know.
fn parse(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace().skip(1);
    let (local, remote) = (address(words.next()?)?, address(words.next()?)?);
    let state = TcpState::from_number(u8::from_str_radix(words.next()?, 16).ok()?)?;
    let inode = words.nth(5)?.parse().ok()?;
    Some(Socket::new(local, remote, state, inode))
}

/// `0100007F:0050`, or 32 digits: words of 32 bits as the machine orders them, in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok();
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?.to_ne_bytes()).into(),
        32 => {
            let mut octets = [0; 16];
            for (n, four) in octets.chunks_mut(4).enumerate() {
                four.copy_from_slice(&word(8 * n)?.to_ne_bytes());
            }
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn lines_of_both_families_are_sockets() {
        let line = "   0: 0100007F:9C40 0200000A:0050 06 00000000:00000000 03:00001770 00000000     0        0 0 3 0000000000000000";
        let socket = parse(line).unwrap();
        assert_eq!(socket.local, "127.0.0.1:40000".parse().unwrap());
        assert_eq!(socket.remote, "10.0.0.2:80".parse().unwrap());
        assert_eq!((socket.state, socket.inode), (TcpState::TimeWait, 0));
        let line = "   1: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0";
        let socket = parse(line).unwrap();
        assert_eq!(socket.local, "[::1]:22".parse().unwrap());
        assert_eq!((socket.state, socket.inode), (TcpState::Listen, 4711));
    }

    #[test]
    fn malformed_proc_net_line_is_skipped() {
        for line in [
            "",
            "  sl  local_address rem_address   st",
            "0: 0100007F:9C40 x 01 a b c 0 0 1",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
