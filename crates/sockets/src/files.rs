//! File descriptors: those open, and the limit.

use crate::SocketsError;

/// The file descriptors of a process: each socket is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Files {
    /// Descriptors in use.
    pub open: u64,
    /// The soft limit, `ulimit -n`: at it, `socket` fails with EMFILE.
    pub limit: u64,
    /// The limit up to which the process may raise its own.
    pub hard: u64,
}

impl Files {
    /// Those of this process: two small files.
    ///
    /// # Errors
    ///
    /// If this is not Linux, or `/proc` is not there.
    pub fn read() -> Result<Self, SocketsError> {
        read("self")
    }

    /// Those of another process.
    ///
    /// # Errors
    ///
    /// If this is not Linux, the process is gone, or belongs to another user.
    pub fn of(pid: u32) -> Result<Self, SocketsError> {
        read(&pid.to_string())
    }

    /// The share of the limit that is left, from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn headroom(&self) -> f64 {
        if self.limit == 0 {
            return 0.0;
        }
        (1.0 - self.open as f64 / self.limit as f64).max(0.0)
    }
}

#[cfg(target_os = "linux")]
fn read(process: &str) -> Result<Files, SocketsError> {
    let unreadable = |error| SocketsError::unreadable("the descriptors of a process", error);
    let folder = format!("/proc/{process}/fd");
    // Since Linux 6.2 the size is the number of descriptors, at a fifth of the cost of a listing.
    let open = match std::fs::metadata(&folder).map_err(unreadable)?.len() {
        0 => std::fs::read_dir(&folder).map_err(unreadable)?.count() as u64,
        open => open,
    };
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).map_err(unreadable)?;
    let (limit, hard) = parse(&limits)
        .ok_or_else(|| unreadable(std::io::Error::other("no line of open files in limits")))?;
    Ok(Files { open, limit, hard })
}

#[cfg(not(target_os = "linux"))]
fn read(_: &str) -> Result<Files, SocketsError> {
    Err(SocketsError::unsupported("the descriptors of a process"))
}

/// The soft and the hard limit in a `/proc/PID/limits`.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "Linux only"))]
fn parse(limits: &str) -> Option<(u64, u64)> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace().map(|word| match word {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some((words.next()??, words.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_open_files_has_both_limits() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             unlimited            unlimited            processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(parse(text), Some((1024, 524_288)));
        let unlimited = text.replace("524288", "unlimited");
        assert_eq!(parse(&unlimited), Some((1024, u64::MAX)));
        assert_eq!(parse("Max open files  many"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn headroom_is_between_nothing_and_all() {
        let files = |open, limit| Files {
            open,
            limit,
            hard: limit,
        };
        for (files, left) in [
            (files(256, 1024), 0.75),
            (files(9, 8), 0.0),
            (files(0, 0), 0.0),
        ] {
            assert!((files.headroom() - left).abs() < 1e-9, "{files:?}");
        }
    }
}
