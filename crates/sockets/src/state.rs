//! The states of TCP, and who closed first.

use std::fmt;

/// Declares the states of TCP with the kernel's number and the name in metrics of each.
macro_rules! states {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $label:literal,)*) => {
        /// A state of TCP, as the kernel numbers them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
        #[non_exhaustive]
        pub enum TcpState { $($(#[$doc])* $variant = $number,)* }

        impl TcpState {
            /// Every state, in the kernel's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The state's name in metrics and snapshots.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// The state of a number from the kernel; `None` for one that a later kernel may add.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

states! {
    /// Both sides can send.
    Established = 1 "established",
    /// A SYN was sent: a dial in progress.
    SynSent = 2 "syn_sent",
    /// A SYN came in and was answered.
    SynRecv = 3 "syn_recv",
    /// This side closed first; the peer has not acknowledged it.
    FinWait1 = 4 "fin_wait1",
    /// This side closed first; the peer has acknowledged it and not closed.
    FinWait2 = 5 "fin_wait2",
    /// This side closed first, and the local port is held for 60 s.
    TimeWait = 6 "time_wait",
    /// Closed: an open descriptor without a connection.
    Close = 7 "close",
    /// The peer closed first, and the process has not closed: a leak if it lasts.
    CloseWait = 8 "close_wait",
    /// The peer closed first, then this side; the last acknowledgement is on its way.
    LastAck = 9 "last_ack",
    /// A listener.
    Listen = 10 "listen",
    /// Both sides closed at once.
    Closing = 11 "closing",
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The side that closed a connection first. The local port stays in `TIME_WAIT` for 60 s only where
/// it was [`Local`](Self::Local).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum ClosedFirst {
    /// This side, which holds the local port for a minute.
    Local,
    /// The peer, or either side by a reset: the local port is free at once.
    Peer,
}

impl ClosedFirst {
    /// Both values.
    pub const ALL: &'static [Self] = &[Self::Local, Self::Peer];

    /// The answer that the state of a connection gives *after* its socket was closed, `None` being a
    /// socket that the kernel has forgotten. `None` while it is still open.
    ///
    /// ```
    /// use tollgate_sockets::{ClosedFirst, TcpState};
    ///
    /// assert_eq!(ClosedFirst::after(Some(TcpState::TimeWait)), Some(ClosedFirst::Local));
    /// assert_eq!(ClosedFirst::after(None), Some(ClosedFirst::Peer));
    /// assert_eq!(ClosedFirst::after(Some(TcpState::Established)), None);
    /// ```
    pub const fn after(state: Option<TcpState>) -> Option<Self> {
        match state {
            // Two that close at the same moment both hold their port.
            Some(
                TcpState::TimeWait | TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing,
            ) => Some(Self::Local),
            Some(TcpState::LastAck | TcpState::CloseWait | TcpState::Close) | None => {
                Some(Self::Peer)
            }
            Some(_) => None,
        }
    }

    /// The answer that the state of a connection gives *before* its socket is closed, from
    /// `TCP_INFO` or [`Sockets::state`](crate::Sockets::state): in `CLOSE_WAIT` the peer has closed,
    /// in `ESTABLISHED` it has not, so the coming close is the first.
    pub const fn before(state: TcpState) -> Self {
        match state {
            TcpState::CloseWait | TcpState::LastAck | TcpState::Close => Self::Peer,
            _ => Self::Local,
        }
    }

    /// The value's name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
        }
    }
}
