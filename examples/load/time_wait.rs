//! Counts sockets that are closed but still hold their port.

use std::fs;

/// The state as `/proc/net/tcp` has it.
const TIME_WAIT: &str = "06";

/// The sockets in TIME_WAIT at either end of a connection to `port`; `None` where the system does
/// not tell, which is everywhere but on Linux.
pub(crate) fn count(port: u16) -> Option<usize> {
    let v4 = fs::read_to_string("/proc/net/tcp").ok()?;
    let v6 = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    Some(count_in(&v4, port) + count_in(&v6, port))
}

fn count_in(table: &str, port: u16) -> usize {
    let port = format!(":{port:04X}");
    let matches = |line: &&str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote, state) = (fields.next(), fields.next(), fields.next());
        let ends = [local, remote].into_iter().flatten();
        state == Some(TIME_WAIT) && ends.into_iter().any(|end| end.ends_with(&port))
    };
    table.lines().skip(1).filter(matches).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 0100007F:9C40 0100007F:1F90 06 00000000:00000000 03:00001768 00000000     0        0 0 3 0
   2: 0100007F:1F90 0100007F:9C42 06 00000000:00000000 03:00001768 00000000     0        0 0 3 0
   3: 0100007F:9C44 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 7 1 0
   4: 0100007F:9C46 0100007F:1F91 06 00000000:00000000 03:00001768 00000000     0        0 0 3 0
";

    #[test]
    fn only_time_wait_sockets_of_a_port_count() {
        assert_eq!(count_in(TABLE, 8080), 2);
        assert_eq!(count_in(TABLE, 8081), 1);
        assert_eq!(count_in(TABLE, 80), 0);
        assert_eq!(count_in("", 80), 0);
    }
}
