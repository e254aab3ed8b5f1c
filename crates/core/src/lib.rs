//! The vocabulary that Tollgate's layers share.
//!
//! No layer of Tollgate depends on another. What they exchange goes through the
//! types of this crate:
//!
//! * [`Origin`], the canonical name of a peer, and [`HasOrigin`], the origin of a request;
//! * [`Event`] and [`Observer`]: what happens in a pool, a resolver or a dial, as it happens;
//! * [`Limits`] and [`Deadline`]: the time that a request has, for every layer to read;
//! * [`Timings`] and [`DialInfo`]: where the time of one exchange and of one dial went;
//! * [`CloseReason`], [`RefuseReason`] and [`ConnectErrorKind`]: closed lists that metrics,
//!   snapshots and errors agree on;
//! * [`phase`]: the phase of a connect that is still pending, for the layers above;
//! * [`wait`]: the time that a request waited in a layer that queues inside its call;
//! * [`encrypted`]: how a TLS layer, a dialler and a pool agree that `https` never goes out in clear text;
//! * [`late`]: addresses that a resolver still has to come after its first answer;
//! * [`lock`]: locks whose poison is passed over;
//! * [`Rounded`]: times in messages;
//! * [`Timer`]: the timer of a wait, on whichever runtime polls it;
//! * [`SocketPeek`]: a look at the socket below a connection, which a pool takes before it uses it again;
//! * [`ConnectTimedOut`]: the error of whatever limits a connect;
//! * [`error`]: the search through an error's chain of sources.
//!
//! An application needs this crate only to write an [`Observer`] or a layer of its own; the
//! `tollgate` facade re-exports it.

mod connect_timed_out;
mod dial_info;
pub mod encrypted;
pub mod error;
mod event;
pub mod late;
mod limits;
pub mod lock;
mod origin;
pub mod phase;
mod reason;
mod rounded;
mod socket;
mod table;
mod timer;
mod timings;
pub mod wait;

pub use connect_timed_out::ConnectTimedOut;
pub use dial_info::{Attempt, AttemptOutcome, DialInfo};
pub use encrypted::{Encrypted, NotEncrypted};
pub use error::BoxError;
pub use event::{Event, NoObserver, Observer};
pub use limits::{Deadline, Limits};
pub use origin::{HasOrigin, Origin, OriginRef, ParseOriginError};
pub use phase::{Phase, PhaseSlot};
pub use reason::{
    Classified, CloseReason, ConnectErrorKind, ExchangeEnd, QueueOrder, RefuseReason,
};
pub use rounded::Rounded;
pub use socket::{SocketPeek, SocketState};
pub use table::Table;
pub use timer::Timer;
pub use timings::Timings;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
