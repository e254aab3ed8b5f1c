//! The range of local ports, and what is left of it.

use std::ops::RangeInclusive;

use crate::SocketsError;

/// The local ports that outgoing connections get, per destination.
///
/// Linux numbers ports for each pair of local address and destination: 28,232 by default, of which
/// each connection takes one, and keeps it for 60 s after its close if this side closed first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ports {
    /// `net.ipv4.ip_local_port_range`, for IPv6 as well.
    pub range: RangeInclusive<u16>,
    /// `net.ipv4.ip_local_reserved_ports`: those of the range that are never given out.
    pub reserved: Vec<RangeInclusive<u16>>,
    /// `net.ipv4.tcp_tw_reuse`; `None` where it cannot be read.
    pub tw_reuse: Option<TwReuse>,
}

/// `net.ipv4.tcp_tw_reuse`: connections that may take a port in `TIME_WAIT` after one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum TwReuse {
    /// 0: none.
    Off,
    /// 1: all, where both sides send timestamps.
    All,
    /// 2, the default: those to loopback.
    Loopback,
}

impl Ports {
    /// The settings of this process's network namespace: four small files.
    ///
    /// # Errors
    ///
    /// If this is not Linux, or the range cannot be read. What else cannot be read is left empty.
    pub fn read() -> Result<Self, SocketsError> {
        read()
    }

    /// The number of ports that one destination can have: the range less what is reserved.
    pub fn usable(&self) -> u32 {
        let (first, last) = (u32::from(*self.range.start()), u32::from(*self.range.end()));
        let reserved: u32 = self
            .reserved
            .iter()
            .map(|one| {
                let from = u32::from(*one.start()).max(first);
                let to = u32::from(*one.end()).min(last);
                // None for one outside of the range, whose ends are then the wrong way round.
                (to + 1).saturating_sub(from)
            })
            .sum();
        (last + 1).saturating_sub(first).saturating_sub(reserved)
    }

    /// Returns true for a port that an outgoing connection may get.
    pub fn contains(&self, port: u16) -> bool {
        self.range.contains(&port) && !self.reserved.iter().any(|one| one.contains(&port))
    }
}

#[cfg(target_os = "linux")]
fn read() -> Result<Ports, SocketsError> {
    let setting = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    let what = "the range of local ports";
    let text =
        setting("ip_local_port_range").map_err(|error| SocketsError::unreadable(what, error))?;
    let range = parse::range(&text).ok_or_else(|| {
        SocketsError::unreadable(
            what,
            std::io::Error::other(format!("not a range: {text:?}")),
        )
    })?;
    let reserved = setting("ip_local_reserved_ports").unwrap_or_default();
    let tw_reuse = setting("tcp_tw_reuse").unwrap_or_default();
    Ok(Ports {
        range,
        reserved: parse::list(&reserved),
        tw_reuse: parse::tw_reuse(&tw_reuse),
    })
}

#[cfg(not(target_os = "linux"))]
fn read() -> Result<Ports, SocketsError> {
    Err(SocketsError::unsupported("the range of local ports"))
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "Linux only"))]
mod parse {
    use super::{RangeInclusive, TwReuse};

    pub(super) fn range(text: &str) -> Option<RangeInclusive<u16>> {
        let mut words = text.split_whitespace();
        let (first, last) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (first <= last).then_some(first..=last)
    }

    /// `8080,9148-9150`; what is not understood is left out.
    pub(super) fn list(text: &str) -> Vec<RangeInclusive<u16>> {
        let ranges = text.trim().split(',').filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
        });
        ranges.collect()
    }

    pub(super) fn tw_reuse(text: &str) -> Option<TwReuse> {
        match text.trim() {
            "0" => Some(TwReuse::Off),
            "1" => Some(TwReuse::All),
            "2" => Some(TwReuse::Loopback),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(range: RangeInclusive<u16>, reserved: &str) -> Ports {
        Ports {
            range,
            reserved: parse::list(reserved),
            tw_reuse: None,
        }
    }

    #[test]
    fn reserved_ports_count_only_inside_the_range() {
        let default = ports(32768..=60999, "");
        assert_eq!(default.usable(), 28_232);
        let some = ports(32768..=60999, "8080,32000-32769,60999-65535\n");
        assert_eq!(some.usable(), 28_232 - 2 - 1);
        assert!(some.contains(32770) && !some.contains(32769) && !some.contains(8080));
        assert_eq!(ports(1..=65535, "1-65535").usable(), 0);
    }

    #[test]
    fn nonsense_in_a_setting_is_no_range() {
        assert_eq!(parse::range("32768\t60999\n"), Some(32768..=60999));
        for nonsense in ["", "1", "9 1", "a b", "1 70000"] {
            assert_eq!(parse::range(nonsense), None, "{nonsense}");
        }
        assert_eq!(parse::list("a,5,7-x"), [5..=5]);
        assert_eq!(parse::tw_reuse("3"), None);
        assert_eq!(parse::tw_reuse("2\n"), Some(TwReuse::Loopback));
    }
}
