//! A frame of a process: its destinations by local ports taken, from the kernel alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;

use tollgate_core::BoxError;
use tollgate_sockets::{Destination, Files, Ports, Sockets, TcpState};

use crate::doctor::percent;
use crate::top::table;

const MAX_ROWS: usize = 40;

const HEAD: [&str; 7] = [
    "address",
    "established",
    "syn_sent",
    "close_wait",
    "other",
    "time_wait",
    "ports left",
];

pub(super) fn frame(pid: u32) -> Result<String, BoxError> {
    let files = Files::of(pid)?;
    let sockets = Sockets::of_namespace(pid)?;
    let owned = inodes(pid)?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let mut lines = vec![
        format!(
            "tollgate top  pid {pid} ({})  {} descriptors of {}, {} left",
            name.trim(),
            files.open,
            files.limit,
            percent(files.headroom()),
        ),
        String::new(),
    ];
    // The settings are this namespace's; of another one they cannot be read.
    let ports = shares_namespace(pid).then(Ports::read).transpose()?;
    let (rows, more) = rows(&sockets, &owned, ports.as_ref());
    lines.push(table(&HEAD, rows));
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.push(String::new());
    lines.push("time_wait and ports: all processes of its network namespace".to_owned());
    Ok(lines.join("\n") + "\n")
}

/// The destinations that the process has sockets to, those with the most first, and how many there are
/// beyond [`MAX_ROWS`].
fn rows(
    sockets: &Sockets,
    owned: &HashSet<u64>,
    ports: Option<&Ports>,
) -> (Vec<Vec<String>>, usize) {
    let mut mine: BTreeMap<SocketAddr, Vec<TcpState>> = BTreeMap::new();
    let mut waiting: HashMap<SocketAddr, usize> = HashMap::new();
    for socket in sockets.outgoing() {
        // Of all processes: a socket in `TIME_WAIT` has no inode, and so no owner.
        if socket.state == TcpState::TimeWait {
            *waiting.entry(socket.remote).or_default() += 1;
        } else if owned.contains(&socket.inode) {
            mine.entry(socket.remote).or_default().push(socket.state);
        }
    }
    let waiting = |remote| waiting.get(&remote).copied().unwrap_or(0);
    let mut all: Vec<_> = mine.into_iter().collect();
    all.sort_by_key(|(remote, own)| (Reverse(own.len() + waiting(*remote)), *remote));
    let more = all.len().saturating_sub(MAX_ROWS);
    all.truncate(MAX_ROWS);
    let rows = all.into_iter().map(|(remote, own)| {
        let left = ports.map_or_else(
            || "-".to_owned(),
            |ports| left(&sockets.destination(remote, ports)),
        );
        row(remote, &own, waiting(remote), left)
    });
    (rows.collect(), more)
}

fn row(remote: SocketAddr, own: &[TcpState], waiting: usize, left: String) -> Vec<String> {
    let of = |state| own.iter().filter(|one| **one == state).count();
    let shown = [
        TcpState::Established,
        TcpState::SynSent,
        TcpState::CloseWait,
    ]
    .map(of);
    let other = own.len() - shown.iter().sum::<usize>();
    let mut cells = vec![remote.to_string()];
    cells.extend(
        shown
            .iter()
            .chain([&other, &waiting])
            .map(ToString::to_string),
    );
    cells.push(left);
    cells
}

fn left(destination: &Destination) -> String {
    let Destination {
        ports, ports_taken, ..
    } = destination;
    format!("{} of {ports}", ports.saturating_sub(*ports_taken))
}

/// The sockets that the process holds, by the numbers in `/proc/PID/fd`.
fn inodes(pid: u32) -> io::Result<HashSet<u64>> {
    let mut inodes = HashSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor may be closed meanwhile.
        let Ok(target) = entry.and_then(|entry| std::fs::read_link(entry.path())) else {
            continue;
        };
        let target = target.to_string_lossy();
        let number = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(inodes)
}

fn shares_namespace(pid: u32) -> bool {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    of("self").is_some() && of("self") == of(&pid.to_string())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_destinations_of_this_process_are_rows() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let held: Vec<_> = (0..3).map(|_| TcpStream::connect(to).unwrap()).collect();
        let text = frame(std::process::id()).unwrap();
        let row = text.lines().find(|line| line.starts_with(&to.to_string()));
        let words: Vec<_> = row.expect(&text).split_whitespace().collect();
        assert_eq!(words[1], "3", "{text}");
        assert!(words[6].parse::<u32>().unwrap() > 1_000, "{text}");
        assert!(frame(u32::MAX).is_err());
        drop(held);
    }
}
